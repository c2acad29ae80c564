# Both images are pinned by digest. To renew one, read the digest of its tag and replace it here:
#   docker buildx imagetools inspect rust:1-bookworm --format '{{.Manifest.Digest}}'
# The digests are those of the official images (Rust 1.97.1; Debian 12 of August 2026), for all platforms.
FROM rust:1-bookworm@sha256:593db038d36ea0d2e5b22a2e095eb95dbec607d88d658c2f35f65ee880b4f93a AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin quotagate \
    && cp target/release/quotagate /usr/local/bin/quotagate

FROM debian:bookworm-slim@sha256:abd67ffcfa541b485a3dff59865ab629aa048a6c613e639d36e7456b0b229241
# redis-server is for a container without QUOTAGATE_REDIS_URL; ca-certificates for rediss://.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates redis-server \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /data --no-create-home quotagate \
    && install -d -o quotagate -g quotagate -m 0700 /data
COPY --from=build /usr/local/bin/quotagate /usr/local/bin/quotagate

USER quotagate
ENV QUOTAGATE_BIND=0.0.0.0:8080 QUOTAGATE_DATA_DIR=/data
VOLUME /data
EXPOSE 8080
# The image has no curl; bash can open a socket by itself.
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["quotagate"]
CMD ["serve"]
