//! The import graph of each crate: no file may depend on itself through others.
//!
//! The graph is read from the text, without a compiler. `use` statements and qualified paths count, and a name that a module only
//! re-exports counts as a dependency on the file that has it. Tests are left out. Calls of methods do not count: an `impl` of a type in
//! another file is not found.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    iter::Peekable,
    path::{Path, PathBuf},
    str::Chars,
};

/// The root files of the crates.
const CRATES: [&str; 8] = [
    "src/api/lib.rs",
    "src/domain/lib.rs",
    "src/kube_io/lib.rs",
    "src/record/lib.rs",
    "src/operator/lib.rs",
    "src/kubectl-jit/lib.rs",
    "src/services/lib.rs",
    "benches/main.rs",
];

/// Maximum number of re-exports that are followed for one name.
const MAX_REEXPORTS: usize = 8;

/// The path of a module from the root of its crate; the root is empty.
type Name = Vec<String>;
type Graph = BTreeMap<Name, BTreeSet<Name>>;

/// A name that a `use` statement brings into a file.
struct Import {
    path: Name,
    name: String,
    is_public: bool,
}

struct Module {
    file: PathBuf,
    imports: Vec<Import>,
    /// The rest of the file without its `use` statements.
    body: Vec<String>,
}

/// The modules of a crate.
struct Modules(BTreeMap<Name, Module>);

impl Modules {
    /// Reads a crate from its root file. `read` returns the text of a file, if the file exists.
    fn load(root: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Self {
        let mut modules = Self(BTreeMap::new());
        modules.add(root.to_owned(), root.parent().unwrap(), Name::new(), read);
        modules
    }

    fn add(&mut self, file: PathBuf, directory: &Path, name: Name, read: &dyn Fn(&Path) -> Option<String>) {
        let text = read(&file).unwrap_or_else(|| panic!("{} cannot be read", file.display()));
        let (imports, body) = imports(without_tests(&tokens(&text)));
        for window in body.windows(3) {
            let [keyword, child, end] = window else { continue };
            if keyword != "mod" || end != ";" {
                continue;
            }
            let below = directory.join(child);
            let places = [directory.join(format!("{child}.rs")), below.join("mod.rs")];
            let place = places.into_iter().find(|place| read(place).is_some());
            let place = place.unwrap_or_else(|| panic!("{}: the file of `mod {child};` was not found", file.display()));
            self.add(place, &below, joined(&name, [child.clone()]), read);
        }
        self.0.insert(name, Module { file, imports, body });
    }

    /// Returns the module with the item that `path` names in the module `at`; none for other crates.
    fn resolve(&self, at: &Name, path: &[String], left: usize) -> Option<Name> {
        let mut current = at.clone();
        let mut rest = path;
        let mut is_relative = true;
        while let Some((first, others)) = rest.split_first() {
            match first.as_str() {
                "crate" => current.clear(),
                "super" => _ = current.pop(),
                "self" => {}
                _ => break,
            }
            (rest, is_relative) = (others, false);
        }
        let is_here = |name: &String| self.0.contains_key(&joined(at, [name.clone()])) || self.import(at, name).is_some();
        if is_relative && !rest.first().is_some_and(is_here) {
            return None;
        }
        while let Some((first, others)) = rest.split_first() {
            let child = joined(&current, [first.clone()]);
            if self.0.contains_key(&child) {
                (current, rest) = (child, others);
                continue;
            }
            if first == "*" {
                break;
            }
            return match self.import(&current, first) {
                Some(import) if left > 0 => self.resolve(&current, &joined(&import.path, others.iter().cloned()), left - 1),
                Some(_) => None,
                None => Some(current),
            };
        }
        Some(current)
    }

    fn import(&self, at: &Name, name: &str) -> Option<&Import> {
        self.0.get(at)?.imports.iter().find(|import| import.name == name && import.path.len() > 1)
    }

    /// Returns which module depends on which.
    fn graph(&self) -> Graph {
        let depends = |(name, module): (&Name, &Module)| {
            let used = |import: &&Import| !import.is_public || (import.name != "*" && module.body.contains(&import.name));
            let imported = module.imports.iter().filter(used).map(|import| import.path.clone());
            let targets = imported.chain(paths(&module.body)).filter_map(|path| self.resolve(name, &path, MAX_REEXPORTS));
            (name.clone(), targets.filter(|target| target != name).collect())
        };
        self.0.iter().map(depends).collect()
    }

    /// Returns the files of each cycle, with the files of the same cycle that they depend on.
    fn circles(&self) -> Vec<BTreeMap<String, Vec<String>>> {
        let graph = self.graph();
        let reached: Graph = graph.keys().map(|name| (name.clone(), reached(&graph, name))).collect();
        let circle = |name: &Name| reached[name].iter().filter(|other| reached[*other].contains(name)).cloned().collect::<BTreeSet<Name>>();
        let circles: BTreeSet<BTreeSet<Name>> = graph.keys().map(circle).filter(|circle| !circle.is_empty()).collect();
        let file = |name: &Name| self.0[name].file.display().to_string();
        let within = |circle: &BTreeSet<Name>, name: &Name| graph[name].intersection(circle).map(file).collect();
        circles.iter().map(|circle| circle.iter().map(|name| (file(name), within(circle, name))).collect()).collect()
    }
}

fn joined(path: &[String], more: impl IntoIterator<Item = String>) -> Name {
    path.iter().cloned().chain(more).collect()
}

/// Returns every module that can be reached from this one.
fn reached(graph: &Graph, from: &Name) -> BTreeSet<Name> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(next) = open.pop() {
        open.extend(graph[next].iter().filter(|target| reached.insert((*target).clone())));
    }
    reached
}

/// Returns the identifiers and signs of a Rust text, without comments and literals.
pub(super) fn tokens(text: &str) -> Vec<String> {
    let is_word = |letter: &char| letter.is_alphanumeric() || *letter == '_';
    let mut tokens = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, letters.peek().copied()) {
            ('/', Some('/')) => while letters.next_if(|letter| *letter != '\n').is_some() {},
            ('/', Some('*')) => skip_past(&mut letters, "*/"),
            (':', Some(':')) => {
                letters.next();
                tokens.push("::".to_owned());
            }
            ('"', _) => skip_string(&mut letters),
            ('\'', Some('\\')) => {
                // The letter after the backslash may be a quote.
                letters.nth(1);
                skip_past(&mut letters, "'");
            }
            ('\'', _) => {
                // A lifetime has no second quote, and counts as a word.
                let mut ahead = letters.clone();
                if ahead.nth(1) == Some('\'') {
                    letters = ahead;
                }
            }
            (letter, _) if is_word(&letter) => {
                let mut word = String::from(letter);
                while let Some(next) = letters.next_if(is_word) {
                    word.push(next);
                }
                let is_raw = matches!(word.as_str(), "r" | "br" | "cr") && matches!(letters.peek(), Some('"' | '#'));
                if is_raw { skip_raw_string(&mut letters) } else { tokens.push(word) }
            }
            (letter, _) if letter.is_whitespace() => {}
            _ => tokens.push(letter.to_string()),
        }
    }
    tokens
}

fn skip_past(letters: &mut Peekable<Chars<'_>>, end: &str) {
    let mut last = String::new();
    for letter in letters {
        last.push(letter);
        if last.ends_with(end) {
            return;
        }
    }
}

fn skip_string(letters: &mut Peekable<Chars<'_>>) {
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => _ = letters.next(),
            '"' => return,
            _ => {}
        }
    }
}

fn skip_raw_string(letters: &mut Peekable<Chars<'_>>) {
    let mut end = String::from('"');
    while letters.next_if_eq(&'#').is_some() {
        end.push('#');
    }
    if letters.next_if_eq(&'"').is_some() {
        skip_past(letters, &end);
    }
}

/// Returns the tokens without the items of test builds only.
fn without_tests(tokens: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut rest = tokens;
    while let Some((first, others)) = rest.split_first() {
        let attribute = attribute(rest);
        let has = |word: &str| attribute.iter().any(|token| token == word);
        if attribute.get(2).is_some_and(|word| word == "cfg") && has("test") && !has("not") {
            rest = &rest[attribute.len()..];
            rest = &rest[item(rest)..];
        } else {
            kept.push(first.clone());
            rest = others;
        }
    }
    kept
}

/// Returns the attribute at the beginning of these tokens; empty where there is none.
fn attribute(tokens: &[String]) -> &[String] {
    let [hash, bracket, ..] = tokens else { return &[] };
    if hash != "#" || bracket != "[" {
        return &[];
    }
    let end = tokens.iter().position(|token| token == "]").map_or(tokens.len(), |end| end + 1);
    &tokens[..end]
}

/// Returns the number of tokens of the item, statement, field or match arm that begins here.
fn item(tokens: &[String]) -> usize {
    const ITEMS: [&str; 10] = ["fn", "impl", "struct", "enum", "mod", "use", "const", "static", "type", "trait"];
    let mut depth = 0_usize;
    let mut is_item = false;
    for (number, token) in tokens.iter().enumerate() {
        is_item |= ITEMS.contains(&token.as_str());
        match token.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 && token == "}" {
                    return number + 1;
                }
            }
            ";" if depth == 0 => return number + 1,
            "," if depth == 0 && !is_item => return number + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Returns the imports of the `use` statements, and all other tokens.
fn imports(tokens: Vec<String>) -> (Vec<Import>, Vec<String>) {
    let mut found = Vec::new();
    let mut body: Vec<String> = Vec::new();
    let mut rest = tokens.into_iter();
    while let Some(token) = rest.next() {
        let before = body.last().map_or(";", String::as_str);
        // `impl Trait + use<'a>` imports nothing.
        if token == "use" && before != "+" {
            let is_public = matches!(before, "pub" | ")");
            let tree: Vec<String> = rest.by_ref().take_while(|token| token != ";").collect();
            import_tree(&[], &tree, is_public, &mut found);
        } else {
            body.push(token);
        }
    }
    (found, body)
}

fn import_tree(prefix: &[String], tree: &[String], is_public: bool, found: &mut Vec<Import>) {
    let words = |tokens: &[String]| joined(prefix, tokens.iter().filter(|token| *token != "::").cloned());
    if let Some(brace) = tree.iter().position(|token| token == "{") {
        let prefix = words(&tree[..brace]);
        let mut depth = 0_usize;
        let branches = tree[brace + 1..tree.len() - 1].split(|token| {
            depth += usize::from(token == "{");
            depth -= usize::from(token == "}");
            token == "," && depth == 0
        });
        branches.filter(|branch| !branch.is_empty()).for_each(|branch| import_tree(&prefix, branch, is_public, found));
        return;
    }
    let renamed = tree.iter().position(|token| token == "as");
    let mut path = words(&tree[..renamed.unwrap_or(tree.len())]);
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let name = renamed.and_then(|place| tree.get(place + 1)).or(path.last()).cloned().unwrap_or_default();
    found.push(Import { path, name, is_public });
}

/// Returns the qualified paths among these tokens, such as `limits::active`.
fn paths(tokens: &[String]) -> impl Iterator<Item = Name> {
    let is_word = |token: &String| token.starts_with(|letter: char| letter.is_alphabetic() || letter == '_');
    let is_sign = |token: Option<&String>, signs: &[&str]| token.is_some_and(|token| signs.contains(&token.as_str()));
    (0..tokens.len()).filter_map(move |start| {
        let before = start.checked_sub(1).and_then(|before| tokens.get(before));
        if !is_word(&tokens[start]) || is_sign(before, &["::", "$", "."]) {
            return None;
        }
        let mut path = vec![tokens[start].clone()];
        let mut at = start + 1;
        while let Some(word) = tokens.get(at + 1).filter(|word| is_sign(tokens.get(at), &["::"]) && is_word(word)) {
            path.push(word.clone());
            at += 2;
        }
        (path.len() > 1).then_some(path)
    })
}

#[test]
fn no_file_depends_on_itself_through_others() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &Path| std::fs::read_to_string(root.join(file)).ok();
    let circles: Vec<_> = CRATES.iter().flat_map(|file| Modules::load(Path::new(file), &read).circles()).collect();
    let mut report = String::new();
    for circle in &circles {
        report.push_str("these files depend on each other:\n");
        for (file, targets) in circle {
            writeln!(report, "  {file} -> {}", targets.join(", ")).unwrap();
        }
    }
    assert!(report.is_empty(), "{report}");
}

/// Returns the import cycles of a crate with these files.
fn circles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let read = |file: &Path| files.iter().find(|(name, _)| Path::new(name) == file).map(|(_, text)| (*text).to_owned());
    Modules::load(Path::new("lib.rs"), &read).circles().iter().map(|circle| circle.keys().cloned().collect()).collect()
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let lib = ("lib.rs", "mod one; mod two; pub use one::One;");
    let one = ("one.rs", "use super::two::{self, Two as Other};\npub struct One(two::Two);");
    let circle = vec![vec!["one.rs".to_owned(), "two.rs".to_owned()]];
    for two in [
        "use crate::one::One; pub struct Two;",
        "use crate::One; pub struct Two;",
        "pub struct Two; impl Two { fn one() -> crate::one::One { loop {} } }",
        "use super::one; pub struct Two; fn f() -> one::One {}",
        "use {super::{one::{One, Other}}}; pub struct Two;",
        "use super::one::*; pub struct Two;",
    ] {
        assert_eq!(circles_of(&[lib, one, ("two.rs", two)]), circle, "{two}");
    }
    let below =
        [("lib.rs", "mod deep;"), ("deep/mod.rs", "mod low; const A: u8 = low::B;"), ("deep/low.rs", "pub const B: u8 = super::A;")];
    assert_eq!(circles_of(&below), [["deep/low.rs", "deep/mod.rs"]]);
}

#[test]
fn tests_comments_and_texts_depend_on_nothing() {
    let lib = ("lib.rs", "pub mod one; mod two; pub use one::One; pub use two::Two;");
    let one = ("one.rs", "use crate::Two; pub struct One(Two);");
    for two in [
        "pub struct Two;",
        "pub struct Two; #[cfg(test)] mod tests { use super::*; use crate::One; }",
        "#[cfg(test)] use crate::One; pub struct Two;",
        "pub struct Two; #[cfg(test)] mod tests;",
        "// use crate::One;\n/* crate::One */ pub struct Two; const A: &str = \"; crate::one::One;\\\"\";",
        "pub struct Two; const A: &str = r#\"crate::One \" crate::One\"#; const Q: char = '\"'; fn a<'a>(b: &'a u8) {} // \" crate::One",
        "pub struct Two; use std::one::One; use jiff::crate_one::One as Other;",
    ] {
        assert_eq!(circles_of(&[lib, one, ("two.rs", two)]), [[""; 0]; 0], "{two}");
    }
}
