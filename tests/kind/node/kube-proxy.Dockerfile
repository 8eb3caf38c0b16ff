ARG DEBIAN
FROM ${DEBIAN}
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends conntrack iptables nftables kmod >/dev/null \
 && apt-get clean && rm -rf /var/lib/apt/lists/* /var/cache/*
COPY kube-proxy /usr/local/bin/
