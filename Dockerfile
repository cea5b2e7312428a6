# A static binary on an empty image: nothing else to patch, nothing to log in to.
FROM rust:1.95-alpine AS build
RUN apk add --no-cache musl-dev
WORKDIR /src
COPY . .
# The package alone: built with the others, it would contain what only the plugin needs of their common dependencies.
RUN cargo build --release --locked -p jit-rbac && cp target/release/jit-rbac /jit-rbac

FROM scratch
COPY --from=build /jit-rbac /jit-rbac
COPY LICENSE /LICENSE
USER 65532:65532
ENTRYPOINT ["/jit-rbac"]
