# The workbook's image, for operators, webhooks and schedulers in pods. Another base: --build-arg BASE=...
ARG BASE=python:3.13-slim-bookworm
FROM ${BASE}

COPY image-requirements.txt /opt/k8sext/requirements.txt
# Compiled files that name no time: the same sources give the same image.
RUN python3 -m venv --without-pip /opt/k8sext \
 && python3 -m pip --python /opt/k8sext/bin/python install --quiet --no-cache-dir --no-compile --no-deps --require-hashes -r /opt/k8sext/requirements.txt \
 && /opt/k8sext/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/k8sext/lib

COPY k8sext /opt/k8sext/source/k8sext
RUN /opt/k8sext/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/k8sext/source

ENV PATH=/opt/k8sext/bin:/usr/local/bin:/usr/bin:/bin PYTHONPATH=/opt/k8sext/source PYTHONUNBUFFERED=1 HOME=/tmp
WORKDIR /tmp
USER 1000:1000
CMD ["python", "-m", "k8sext", "--help"]
