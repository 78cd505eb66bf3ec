# Caddy with the accounts, as an image of some 70 MB: docker build -t caddy-registration .
# More plugins: --build-arg WITH="--with github.com/caddy-dns/cloudflare"
FROM golang:1.26-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG WITH=""
# The module is this folder: @v0.0.0 keeps Go from looking for a published one.
RUN go run github.com/caddyserver/xcaddy/cmd/xcaddy@v0.4.5 build "$(go list -m -f '{{.Version}}' github.com/caddyserver/caddy/v2)" \
	--with github.com/seed-928992b0/caddy-registration@v0.0.0=/src $WITH --output /out/caddy

FROM alpine:3.22
# In one layer, so that the binary is in the image once: who may bind ports 80 and 443
# without being root is part of the file.
RUN --mount=type=bind,from=build,source=/out,target=/out \
	apk add --no-cache ca-certificates libcap mailcap && \
	install -m 755 /out/caddy /usr/bin/caddy && \
	setcap cap_net_bind_service=+ep /usr/bin/caddy && \
	addgroup -S -g 1000 caddy && adduser -S -D -H -u 1000 -G caddy -h /data caddy && \
	install -d -o caddy -g caddy -m 700 /data /data/caddy /config /config/caddy && \
	install -d /etc/caddy /srv
COPY examples/docker/Caddyfile /etc/caddy/Caddyfile
COPY examples/site /srv
ENV XDG_DATA_HOME=/data XDG_CONFIG_HOME=/config
# /data has the accounts (caddy/registration.db) and the certificates: keep it.
VOLUME /data /config
WORKDIR /srv
USER caddy
EXPOSE 80 443 443/udp
# Caddy's admin endpoint, which nobody reaches from outside the container.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
	CMD wget -q -O /dev/null http://127.0.0.1:2019/config/ || exit 1
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
