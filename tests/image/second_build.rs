//! Reproduction: the same sources give the same image in another checkout.

use std::{fs, process::Command};

use tempfile::TempDir;

use crate::archive::{Archive, output, platforms, root};

/// Another directory, home, umask and cache, as for another user on another machine. Only the toolchain and the registry's crates are
/// the same, as pinned by `rust-toolchain.toml` and `Cargo.lock`.
#[test]
fn a_second_build_elsewhere_has_the_same_digest() {
    let elsewhere = TempDir::new_in(root().join("target")).unwrap();
    let (checkout, home) = (elsewhere.path().join("another checkout"), elsewhere.path().join("home"));
    fs::create_dir_all(&checkout).unwrap();
    fs::create_dir_all(&home).unwrap();
    let copy = "umask 077; git ls-files -z | tar --null --files-from=- -cf - | tar --no-same-permissions -C \"$1\" -xf -";
    output(Command::new("sh").args(["-c", copy, "sh"]).arg(&checkout).current_dir(root()));

    let images = Archive::open().images();
    let first = images.values().next().unwrap();
    let created: jiff::Timestamp = first.config["created"].as_str().unwrap().parse().unwrap();
    let rustup = std::env::var("RUSTUP_HOME").unwrap_or_else(|_| format!("{}/.rustup", std::env::var("HOME").unwrap()));
    let mut make = Command::new("sh");
    make.args(["-c", "umask 077; exec make \"$@\"", "sh", "image"]).arg(format!("PLATFORMS={}", platforms().join(",")));
    make.current_dir(&checkout).env("HOME", &home).env("CARGO_HOME", home.join("crates")).env("RUSTUP_HOME", rustup);
    make.env("SOURCE_DATE_EPOCH", created.as_second().to_string());
    make.env("REVISION", first.config["config"]["Labels"]["org.opencontainers.image.revision"].as_str().unwrap());
    for name in ["CARGO", "CARGO_TARGET_DIR", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "XDG_CACHE_HOME"] {
        make.env_remove(name);
    }
    output(&mut make);

    let digest = |of: &std::path::Path| fs::read_to_string(of.join("target/image/digest")).unwrap();
    assert_eq!(digest(&checkout), digest(root()));
}
