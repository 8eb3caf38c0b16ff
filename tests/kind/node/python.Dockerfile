# What the workbook's image stands on where no registry is reached; the Dockerfile's usual base is the official Python image.
ARG DEBIAN
FROM ${DEBIAN}
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ca-certificates python3 python3-venv python3-pip >/dev/null \
 && ln -s python3 /usr/bin/python && apt-get clean && rm -rf /var/lib/apt/lists/* /var/cache/*
# The build must reach PyPI as this machine does.
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
