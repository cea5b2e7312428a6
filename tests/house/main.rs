//! The dependencies of crates and files, compared with the allowed ones, the absence of a clock, and the words that the project does not use.

#[cfg(test)]
mod clock;
#[cfg(test)]
mod imports;
#[cfg(test)]
mod words;

/// Cargo knows the crates, including those of dependencies.
#[cfg(test)]
mod dependencies {
    use std::{collections::BTreeSet, process::Command};

    const OURS: &str = "jit-rbac";

    /// Returns the output of `cargo tree` for a package: a build of this package alone.
    fn tree(package: &str, edges: &str) -> BTreeSet<String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        command.args(["tree", "--locked", "--offline", "--package", package, "--edges", edges, "--prefix", "none"]);
        let output = command.output().expect("cargo can be run");
        assert!(output.status.success(), "cargo tree of {package}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
    }

    /// Returns the names of the crates in the build of a package, its own among them.
    fn crates(package: &str) -> BTreeSet<String> {
        tree(package, "normal").iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    }

    /// Returns the features of the crates in the build of a package, as `crate/feature`.
    fn features(package: &str) -> BTreeSet<String> {
        let feature = |line: &String| {
            let (name, feature) = line.split_once(" feature ")?;
            Some(format!("{name}/{}", feature.split('"').nth(1)?))
        };
        tree(package, "normal,features").iter().filter_map(feature).collect()
    }

    /// Returns the existing ones of `names`.
    fn found<'n>(there: &BTreeSet<String>, names: &[&'n str]) -> Vec<&'n str> {
        names.iter().copied().filter(|name| there.contains(*name)).collect()
    }

    #[test]
    fn our_crates_depend_on_each_other_in_one_direction() {
        for (package, allowed) in [
            ("jit-rbac-api", &[][..]),
            ("jit-rbac-domain", &["jit-rbac-api"]),
            ("jit-rbac-kube-io", &["jit-rbac-api"]),
            ("jit-rbac-process", &["jit-rbac-api", "jit-rbac-kube-io"]),
            ("jit-rbac-record", &[]),
            ("jit-rbac", &["jit-rbac-api", "jit-rbac-domain", "jit-rbac-kube-io", "jit-rbac-process"]),
            ("kubectl-jit", &["jit-rbac-api", "jit-rbac-domain", "jit-rbac-kube-io", "jit-rbac-record"]),
            ("jit-rbac-services", &["jit-rbac-api", "jit-rbac-domain", "jit-rbac-kube-io", "jit-rbac-process", "jit-rbac-record"]),
        ] {
            let ours: Vec<String> = crates(package).into_iter().filter(|name| name.starts_with(OURS) && name != package).collect();
            assert_eq!(ours, allowed, "{package}");
        }
    }

    #[test]
    fn the_kinds_and_the_rules_have_no_client_and_no_runtime() {
        for package in ["jit-rbac-api", "jit-rbac-domain"] {
            let there = crates(package);
            assert!(there.contains("kube-core") && there.contains("jiff"), "{package}: the crates were not found: {there:?}");
            let client =
                ["kube-client", "kube-runtime", "hyper", "hyper-util", "tower", "axum", "rustls", "tokio", "tokio-util", "tracing"];
            assert_eq!(found(&there, &client), [""; 0], "{package}");
        }
    }

    /// The kinds derive kube's traits, and the rules need not even those.
    #[test]
    fn the_rules_do_not_use_kube() {
        let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/domain/Cargo.toml")).unwrap();
        assert!(manifest.contains("\njiff"), "the dependencies were not found");
        assert!(!manifest.contains("\nkube"), "src/domain must not depend on kube");
    }

    /// A build of the whole workspace has them: the release is built with `--package`, by `make image` and in the Dockerfile.
    #[test]
    fn the_operator_has_nothing_that_only_the_plugin_needs() {
        let there = crates("jit-rbac");
        assert!(there.contains("kube-client"), "the crates were not found: {there:?}");
        let plugins = ["inquire", "crossterm", "terminal_size", "rustix", "clap_mangen", "kube-runtime"];
        let services = ["lettre", "minijinja", "reqwest", "object_store", "signed_note", "tlog_tiles"];
        assert_eq!(found(&there, &[&plugins[..], &services[..]].concat()), [""; 0]);
        let features = features("jit-rbac");
        assert!(features.contains("kube-client/rustls-tls"), "the features were not found: {features:?}");
        for name in ["kube", "kube-client"] {
            for feature in ["oidc", "oauth", "socks5", "http-proxy"] {
                assert!(!features.contains(&format!("{name}/{feature}")), "{name}/{feature}");
            }
        }
        for (file, text, command) in [
            ("Dockerfile", include_str!("../../Dockerfile"), "RUN make binaries PLATFORMS=linux/$TARGETARCH "),
            ("Makefile", include_str!("../../Makefile"), " release/binary.sh jit-rbac \"$$platform\";"),
            (
                "release/binary.sh",
                include_str!("../../release/binary.sh"),
                "cargo-auditable auditable zigbuild --quiet --locked --release --package \"$package\" ",
            ),
        ] {
            assert!(text.contains(command), "{file} does not contain '{command}'");
        }
    }
}
