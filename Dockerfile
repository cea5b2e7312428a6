# Two static binaries on an empty image: nothing else to patch, nothing to log in to.
# `make image` needs no daemon: its own binaries replace this first stage (docs/image.md).
FROM --platform=$BUILDPLATFORM rust:1.95.0-bookworm AS binaries
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
ARG TARGETARCH
RUN make binaries PLATFORMS=linux/$TARGETARCH && cp -r target/binaries/linux /

FROM scratch
ARG TARGETARCH
# The modes do not depend on the checkout's umask.
COPY --chmod=0555 --from=binaries /linux/$TARGETARCH/jit-rbac /jit-rbac
# For the process of notifications, which talks to other servers. The operator does not contain it.
COPY --chmod=0555 --from=binaries /linux/$TARGETARCH/jit-rbac-services /jit-rbac-services
COPY --chmod=0444 LICENSE /LICENSE
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="jit-rbac" \
      org.opencontainers.image.description="Just-in-time RBAC for Kubernetes: the controller and the webhook" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
USER 65532:65532
ENTRYPOINT ["/jit-rbac"]
