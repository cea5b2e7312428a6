//! What the image contains, and how it runs.

use std::{env::consts::ARCH, fs, path::Path, process::Command};

use serde_json::json;

use crate::archive::{Archive, PROGRAMS, binaries, binary, output, platforms, root};

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[test]
fn the_index_has_every_platform_and_the_digest_that_is_printed() {
    let archive = Archive::open();
    assert_eq!(archive.images().into_keys().collect::<Vec<_>>(), platforms());
    assert_eq!(archive.entry()["digest"], fs::read_to_string(root().join("target/image/digest")).unwrap().trim());
    assert_eq!(archive.entry()["mediaType"], "application/vnd.oci.image.index.v1+json");
}

/// The chart sets the same user. A numeric one is required for `runAsNonRoot`.
#[test]
fn the_container_runs_the_operator_as_a_numeric_user() {
    for (platform, image) in Archive::open().images() {
        let mut config = image.config["config"].clone();
        let labels = config.as_object_mut().unwrap().remove("Labels").unwrap();
        assert_eq!(
            config,
            json!({
                "User": "65532:65532",
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                "Entrypoint": ["/jit-rbac"],
            }),
            "{platform}"
        );
        assert_eq!(labels["org.opencontainers.image.title"], "jit-rbac");
        assert_eq!(labels["org.opencontainers.image.version"], VERSION);
        assert_eq!(labels["org.opencontainers.image.licenses"], env!("CARGO_PKG_LICENSE"));
        assert!(labels["org.opencontainers.image.revision"].as_str().unwrap().len() >= 40, "{labels}");
        assert_eq!(labels.as_object().unwrap().len(), 5, "{labels}");
    }
}

/// Returns a layer as `tar` lists it, without the sizes: mode, owner, time and name of each file.
fn list(layer: &Path) -> Vec<String> {
    let mut tar = Command::new("tar");
    tar.args(["--numeric-owner", "--full-time", "-tvzf"]).arg(layer).env("TZ", "UTC");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    output(&mut tar).lines().map(words).map(|words| [&words[..2], &words[3..]].concat().join(" ")).collect()
}

#[test]
fn the_image_is_the_programs_and_the_license() {
    for (platform, image) in Archive::open().images() {
        let created = image.config["created"].as_str().unwrap().replace('T', " ").replace('Z', "");
        let [layer] = &image.layers[..] else { panic!("{platform}: {:?}", image.layers) };
        let programs = PROGRAMS.map(|program| format!("-r-xr-xr-x 0/0 {created} {program}"));
        let wanted: Vec<_> = [format!("-r--r--r-- 0/0 {created} LICENSE")].into_iter().chain(programs).collect();
        assert_eq!(list(layer), wanted, "{platform}");

        let file = |name| Command::new("tar").arg("-xzOf").arg(layer).arg(name).output().unwrap().stdout;
        assert!(file("LICENSE") == fs::read(root().join("LICENSE")).unwrap(), "{platform}: another license");
        for program in PROGRAMS {
            let built = fs::read(binary(&platform, program)).unwrap();
            assert!(file(program) == built, "{platform}: another {program} than that of make binaries");
        }
    }
}

#[test]
fn the_binaries_are_static_and_position_independent() {
    for (platform, program) in binaries() {
        let mut readelf = Command::new("readelf");
        readelf.args(["--wide", "--file-header", "--program-headers", "--dynamic"]).arg(binary(&platform, program));
        let headers = output(&mut readelf);
        assert!(headers.contains("Flags: NOW PIE\n") && headers.contains("GNU_RELRO"), "{platform}: {headers}");
        assert!(!headers.contains("INTERP") && !headers.contains("(NEEDED)"), "{platform}: {headers}");
    }
}

#[test]
fn the_binaries_run() {
    for (platform, program) in binaries() {
        let binary = binary(&platform, program);
        let native = platform == format!("linux/{}", if ARCH == "x86_64" { "amd64" } else { "arm64" });
        let emulator = if platform == "linux/arm64" { "qemu-aarch64-static" } else { "qemu-x86_64-static" };
        let mut command = if native { Command::new(&binary) } else { Command::new(emulator) };
        if !native {
            command.arg(&binary);
        }
        assert_eq!(output(command.arg("--version")), format!("{program} {VERSION}\n"), "{platform}");
    }
}

/// Their sources have the same names for everybody who builds them.
#[test]
fn the_binaries_have_no_path_of_this_machine() {
    let home = std::env::var("HOME").unwrap();
    let rustup = std::env::var("RUSTUP_HOME").unwrap_or_else(|_| format!("{home}/.rustup"));
    let cargo = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
    for (platform, program) in binaries() {
        let bytes = fs::read(binary(&platform, program)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("/crates/tokio-"), "{platform}: no path of a source was found");
        for path in [root().to_str().unwrap(), &rustup, &cargo, "registry/src"] {
            let found = text.find(path).map(|at| text[at..].chars().take(100).collect::<String>());
            assert_eq!(found, None, "{platform}");
        }
    }
}
