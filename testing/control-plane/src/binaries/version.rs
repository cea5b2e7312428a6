use std::path::{Path, PathBuf};
use std::process::Command;

/// Major and minor version of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl Version {
    /// Returns the first `v<major>.<minor>` in a program's version output. None for versions with a suffix, such as that of a vendor's
    /// wrapper.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let word = text.split_whitespace().find_map(|word| {
            let rest = word.strip_prefix('v')?;
            rest.starts_with(|first: char| first.is_ascii_digit()).then_some(rest)
        })?;
        let released = word.split('+').next()?;
        let mut parts = released.split('.').map(str::parse::<u32>);
        let version = Self { major: parts.next()?.ok()?, minor: parts.next()?.ok()? };
        parts.all(|part| part.is_ok()).then_some(version)
    }
}

/// Returns the first file of that name, in the order of the directories.
pub(super) fn which(places: &[PathBuf], name: &str) -> Option<PathBuf> {
    places.iter().map(|place| place.join(name)).find(|path| path.is_file())
}

/// Returns the first program of that name with a suitable version, and that version.
pub(super) fn first(places: &[PathBuf], name: &str, ask: &[&str], suits: impl Fn(Version) -> bool) -> Option<(PathBuf, Version)> {
    places.iter().map(|place| place.join(name)).find_map(|path| {
        let version = ask_version(&path, ask)?;
        suits(version).then_some((path, version))
    })
}

/// Returns the version that a program reports.
pub(super) fn ask_version(path: &Path, ask: &[&str]) -> Option<Version> {
    if !path.is_file() {
        return None;
    }
    let output = Command::new(path).args(ask).env("KUBERC", "off").output().ok()?;
    Version::parse(&String::from_utf8_lossy(&output.stdout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_programs_print() {
        let version = |major, minor| Some(Version { major, minor });
        assert_eq!(Version::parse("Kubernetes v1.36.3"), version(1, 36));
        assert_eq!(Version::parse("Client Version: v1.33.0\nKustomize Version: v5.5.0"), version(1, 33));
        assert_eq!(Version::parse("v4.3.1+g0123abc"), version(4, 3));
        assert_eq!(Version::parse("Client Version: v1.36.4-dispatcher"), None);
        assert_eq!(Version::parse("very new"), None);
        assert_eq!(Version::parse(""), None);
    }
}
