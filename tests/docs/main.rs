//! The documentation compared with the product: its reasons, fields and files must exist. The tests need no control plane.

#[cfg(test)]
mod charts;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod design;
#[cfg(test)]
mod fields;
#[cfg(test)]
mod kubernetes;
#[cfg(test)]
mod links;
#[cfg(test)]
mod references;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod runbooks;

#[cfg(test)]
mod files {
    use std::path::{Path, PathBuf};

    /// The root of the repository.
    pub fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    /// Returns a file's text and its path from the root.
    pub struct Page {
        pub path: String,
        pub text: String,
    }

    /// Returns every Markdown file in `directory` and below it, by name.
    pub fn pages(directory: &str) -> Vec<Page> {
        files(directory, "md").iter().map(|path| page(path)).collect()
    }

    /// Returns every file of an extension in `directory` and below it, by name.
    pub fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&root().join(directory), extension, &mut found);
        found.sort();
        found
    }

    /// One Markdown file.
    pub fn page(path: &Path) -> Page {
        let path = path.strip_prefix(root()).unwrap_or(path);
        let text = std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Page { path: path.to_string_lossy().into_owned(), text }
    }

    fn collect(directory: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, extension, found);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
}
