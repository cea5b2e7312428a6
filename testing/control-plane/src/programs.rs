//! The programs of the product, from the build directory of the running program.
//!
//! Cargo provides a test with the programs of its own package only. `make` builds the others before it, and this module verifies that.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::SystemTime;

use crate::{Error, Result};

/// The product's programs.
const ALL: [&str; 3] = ["jit-rbac", "jit-rbac-services", "kubectl-jit"];
const BUILD: &str = "run 'make build', or for measurements 'make release'";

/// Returns the program of this name in the running program's build directory: `target/debug` for tests, `target/release` for measurements.
/// It is an error if there is none, or if one of its source files has changed since. Both are checked once, early: an edit while tests run
/// is not an error.
pub fn program(name: &str) -> Result<PathBuf> {
    static FOUND: LazyLock<BTreeMap<&str, Result<PathBuf, String>>> = LazyLock::new(|| ALL.map(|name| (name, find(name))).into());
    let found = FOUND.get(name).cloned().unwrap_or_else(|| Err(format!("{name} is not a program of the product")));
    found.map_err(Error::State)
}

/// Returns a program of other projects that a target of the Makefile builds into the cache.
pub(crate) fn tool(name: &str, target: &str) -> Result<PathBuf> {
    let path = crate::binaries::cache()?.with_file_name("tools").join("bin").join(name);
    if path.is_file() { Ok(path) } else { Err(Error::State(format!("{name} is missing: run '{target}'"))) }
}

/// Returns the checkout that this crate was built from, with charts and examples.
pub fn checkout() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map(Path::to_owned).ok_or_else(|| Error::State(format!("{} is not in a checkout", here.display())))
}

/// Returns the exit code of the program `name`, and prints the error of a failure.
#[must_use]
pub fn exit_code(name: &str, done: Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn find(name: &str) -> Result<PathBuf, String> {
    let running = env::current_exe().map_err(|error| format!("cannot find the running program: {error}"))?;
    let file = format!("{name}{}", env::consts::EXE_SUFFIX);
    // Tests and measurements run in the directory `deps`.
    let mut beside = running.ancestors().skip(1).take(2).map(|directory| directory.join(&file));
    let program = beside
        .find(|path| path.is_file())
        .ok_or_else(|| format!("the program {name} is not built in the directory of {}: {BUILD}", running.display()))?;
    match newer_source(&program) {
        None => Ok(program),
        Some(source) => Err(format!("the program {} is older than {source}: {BUILD}", program.display())),
    }
}

/// Returns a source file that is newer than the program, by the dependency file that cargo writes next to the program; none where nothing
/// is known.
fn newer_source(program: &Path) -> Option<String> {
    let changed = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let built = changed(program)?;
    let sources = fs::read_to_string(program.with_extension("d")).ok()?;
    newer(&sources, built, |source| changed(Path::new(source)))
}

/// Returns the first of the files in `sources` that has changed after `built`. The list follows the program and a colon; a space in a path
/// has a backslash before it.
fn newer(sources: &str, built: SystemTime, changed: impl Fn(&str) -> Option<SystemTime>) -> Option<String> {
    const SPACE: &str = "\\ ";
    const HELD: &str = "\0";
    let (_, sources) = sources.split_once(": ")?;
    let sources = sources.replace(SPACE, HELD);
    sources.split_whitespace().map(|source| source.replace(HELD, " ")).find(|source| changed(source).is_some_and(|at| at > built))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_program_that_is_older_than_a_source_file_is_noticed() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let changed = |source: &str| match source {
            "/a/src/lib.rs" => Some(at(5)),
            "/a b/main.rs" => Some(at(9)),
            _ => None,
        };
        let sources = "/a/target/debug/jit-rbac: /a/src/lib.rs /a/gone.rs /a\\ b/main.rs\n";
        assert_eq!(newer(sources, at(9), changed), None);
        assert_eq!(newer(sources, at(8), changed).as_deref(), Some("/a b/main.rs"));
        assert_eq!(newer("", at(8), changed), None);
    }
}
