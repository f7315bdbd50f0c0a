//! Imports go one way: rooms import from lower floors only, files never in a circle, and each outside crate has its doors. Each
//! public type has a name of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms by floor, the lowest first. Rooms of one floor don't know each other.
const FLOORS: &[&[&str]] = &[
    &["base"],
    &["model"],
    &["config", "metrics"],
    &["dialect", "provider", "store"],
    &["auth", "host", "upstream"],
    &["rules"],
    &["gateway"],
    &["http"],
    &["serve"],
    &["cli"],
];

/// In these rooms no entry imports its neighbour, except the entries named behind it, which serve the others.
const STRANGERS: &[(&str, &[&str])] = &[
    ("rules", &[]),
    ("dialect", &["calls", "choice", "effort", "data", "image", "json", "models", "native", "surrogates", "wire"]),
    ("provider", &["wire"]),
];

/// Outside crates, and the only modules that may name them.
const DOORS: &[(&str, &[&str])] = &[
    ("diesel", &["store"]),
    ("diesel_migrations", &["store"]),
    ("actix_tls", &["cli::socket", "serve::listeners"]),
    ("awc", &["upstream", "cli::socket"]),
    ("actix_web", &["http", "serve", "cli"]),
    ("actix_governor", &["http"]),
    ("rustls", &["upstream", "host::certificate", "serve::listeners", "serve::tls"]),
    ("x509_cert", &["host::certificate"]),
    ("rustls_native_certs", &["upstream"]),
    ("jiff", &["base::clock"]),
    ("chacha20poly1305", &["base::sealing"]),
    ("lettre", &["upstream::mail"]),
    ("prometheus", &["metrics"]),
    ("tracing_actix_web", &["http", "serve::server", "serve::telemetry"]),
];

/// A file of the product as a module, with the paths that its code names, tests apart.
struct Module {
    file: String,
    paths: BTreeSet<Vec<String>>,
}

type Tree = BTreeMap<String, Module>;

/// Reads the modules below `root` by their names, as in `rules::queue::core`. `lib.rs` and `main.rs` only name rooms.
fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    for path in sources(root) {
        let file = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let name = file.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
        if ["lib", "main"].contains(&name.as_str()) {
            continue;
        }
        let mut paths = BTreeSet::new();
        // Tokens and not items, since the arguments of macros and attributes name paths, too.
        paths_in(&tokens(&fs::read_to_string(&path).unwrap()), &mut paths);
        tree.insert(name, Module { file, paths });
    }
    tree
}

/// The product's sources; files and folders called `tests` belong to the file beside them.
fn sources(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Name(String),
    /// `::`
    Colons,
    Sign(char),
}

/// Cuts Rust into tokens, as far as paths need it: comments, texts and numbers are left out.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let is_word = |at: usize| chars.get(at).is_some_and(|c| c.is_alphanumeric() || *c == '_');
    let begins = |at: usize, word: &str| word.chars().enumerate().all(|(n, c)| chars.get(at + n) == Some(&c));
    let find = |from: usize, word: &str| (from..chars.len()).find(|at| begins(*at, word)).unwrap_or(chars.len());
    let (mut found, mut at) = (Vec::new(), 0);
    while at < chars.len() {
        if begins(at, "//") {
            at = find(at, "\n");
        } else if begins(at, "r\"") || begins(at, "r#\"") || begins(at, "br#\"") {
            let hashes = if chars[find(at, "\"") - 1] == '#' { "\"#" } else { "\"" };
            at = find(find(at, "\"") + 1, hashes) + hashes.len();
        } else if chars[at] == '"' {
            at += 1;
            while chars.get(at).is_some_and(|c| *c != '"') {
                at += if chars[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
        } else if begins(at, "'\\") {
            at = find(at + 3, "'") + 1;
        } else if chars[at] == '\'' && chars.get(at + 2) == Some(&'\'') {
            at += 3;
        } else if is_word(at) {
            let end = (at..).find(|at| !is_word(*at)).unwrap_or(chars.len());
            let name: String = chars[at..end].iter().collect();
            if !name.starts_with(|c: char| c.is_ascii_digit()) {
                found.push(Token::Name(name));
            }
            at = end;
        } else if begins(at, "::") {
            found.push(Token::Colons);
            at += 2;
        } else {
            if !chars[at].is_whitespace() {
                found.push(Token::Sign(chars[at]));
            }
            at += 1;
        }
    }
    found
}

/// Collects the paths, groups such as `a::{b, c::d}` spelt out. Items that only tests see are left out.
fn paths_in(tokens: &[Token], found: &mut BTreeSet<Vec<String>>) {
    let for_tests = self::tokens("#[cfg(test)]");
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].starts_with(&for_tests) {
            at = item_end(tokens, at + for_tests.len());
        } else if let Token::Name(_) = tokens[at] {
            at = path_at(tokens, at, Vec::new(), found);
        } else {
            at += 1;
        }
    }
}

/// Where the item ends that begins at `at`: behind its semicolon or its block.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            Token::Sign('{') => depth += 1,
            Token::Sign('}') => depth -= 1,
            Token::Sign(';') if depth == 0 => break,
            _ => continue,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Reads the path that goes on at `at`, behind `path`. Returns where it ends.
fn path_at(tokens: &[Token], mut at: usize, mut path: Vec<String>, found: &mut BTreeSet<Vec<String>>) -> usize {
    loop {
        match tokens.get(at) {
            Some(Token::Name(name)) => path.push(name.clone()),
            Some(Token::Sign('{')) if !path.is_empty() => {
                at += 1;
                while !matches!(tokens.get(at), None | Some(Token::Sign('}'))) {
                    at = match tokens[at] {
                        Token::Sign(',') => at + 1,
                        _ => path_at(tokens, at, path.clone(), found),
                    };
                }
                return at + 1;
            }
            // A star, or the arguments of a generic.
            _ => {
                found.insert(path);
                return at + 1;
            }
        }
        at += 1;
        if tokens.get(at) != Some(&Token::Colons) {
            if path.len() > 1 {
                found.insert(path);
            }
            return at;
        }
        at += 1;
    }
}

/// The module that a path below `crate` leads to: the longest beginning of it that is one.
fn module_of(tree: &Tree, path: &[String]) -> Option<String> {
    (1..=path.len()).rev().map(|length| path[..length].join("::")).find(|name| tree.contains_key(name))
}

fn room(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

fn is_within(module: &str, parent: &str) -> bool {
    module == parent || module.strip_prefix(parent).is_some_and(|rest| rest.starts_with("::"))
}

/// What each module imports. A parent and its children may name each other.
fn imports(tree: &Tree) -> BTreeMap<&str, BTreeSet<String>> {
    let of = |(name, module): (&'_ String, &Module)| -> BTreeSet<String> {
        let inside = module.paths.iter().filter(|path| path[0] == "crate");
        let targets = inside.filter_map(|path| module_of(tree, &path[1..]));
        targets.filter(|other| !is_within(other, name) && !is_within(name, other)).collect()
    };
    tree.iter().map(|(name, module)| (name.as_str(), of((name, module)))).collect()
}

/// What is wrong in a tree of sources, a line each.
fn violations(root: &Path) -> Vec<String> {
    let tree = read(root);
    let imports = imports(&tree);
    let mut found = Vec::new();
    for (name, module) in &tree {
        for other in &imports[name.as_str()] {
            found.extend(wrong_way(name, other).map(|wrong| format!("{}: {wrong}", module.file)));
        }
        if module.paths.iter().any(|path| path[0] == "super") {
            found.push(format!("{}: `super::` outside tests", module.file));
        }
        for (outside, doors) in DOORS {
            let names = module.paths.iter().any(|path| path[0] == *outside);
            if names && !doors.iter().any(|door| is_within(name, door)) {
                found.push(format!("{}: `{outside}` may only be named in {doors:?}", module.file));
            }
        }
    }
    found
}

fn floor(room: &str) -> usize {
    FLOORS
        .iter()
        .position(|rooms| rooms.contains(&room))
        .unwrap_or_else(|| panic!("`{room}` is on no floor: add it to FLOORS"))
}

fn wrong_way(name: &str, other: &str) -> Option<String> {
    let (mine, its) = (room(name), room(other));
    if mine == its {
        let (_, shared) = STRANGERS.iter().find(|(room, _)| *room == mine)?;
        let entry = |module: &str| module.split("::").nth(1).unwrap_or_default().to_owned();
        let (from, to) = (entry(name), entry(other));
        let strangers = from != to && !from.is_empty() && !to.is_empty() && !shared.contains(&to.as_str());
        return strangers.then(|| format!("`{from}` imports its neighbour `{to}`"));
    }
    (floor(its) >= floor(mine)).then(|| format!("`{mine}` imports `{its}`, which is on no lower floor"))
}

/// Ways from a module back to itself; at least one where there is any.
fn circles(root: &Path) -> Vec<String> {
    let tree = read(root);
    let imports = imports(&tree);
    let (mut done, mut found) = (BTreeSet::new(), Vec::new());
    for name in imports.keys() {
        walk(name, &imports, &mut Vec::new(), &mut done, &mut found);
    }
    found.iter().map(|circle| circle.join(" -> ")).collect()
}

fn walk(
    name: &str,
    imports: &BTreeMap<&str, BTreeSet<String>>,
    way: &mut Vec<String>,
    done: &mut BTreeSet<String>,
    found: &mut Vec<Vec<String>>,
) {
    if let Some(from) = way.iter().position(|passed| passed == name) {
        found.push(way[from..].iter().cloned().chain([name.to_owned()]).collect());
    } else if !done.contains(name) {
        way.push(name.to_owned());
        for next in &imports[name] {
            walk(next, imports, way, done, found);
        }
        way.pop();
        done.insert(name.to_owned());
    }
}

#[test]
fn imports_go_downstairs() {
    let found = violations(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));

    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn each_kind_of_violation_is_seen() {
    let found = violations(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/floors/bad"));

    assert_eq!(
        found,
        [
            "model/chat.rs: `model` imports `gateway`, which is on no lower floor",
            "rules/limits.rs: `limits` imports its neighbour `audit`",
            "rules/limits.rs: `limits` imports its neighbour `queue`",
            "rules/limits.rs: `super::` outside tests",
            "rules/policy.rs: `diesel` may only be named in [\"store\"]",
            "rules/policy.rs: `actix_web` may only be named in [\"http\", \"serve\", \"cli\"]",
            "store/users.rs: `store` imports `dialect`, which is on no lower floor",
        ]
    );
}

#[test]
fn a_circle_is_seen() {
    let found = circles(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/floors/bad"));

    assert_eq!(found, ["store::tokens -> store::words -> store::users -> store::tokens"]);
}

#[test]
fn files_import_in_no_circle() {
    let found = circles(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));

    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// The words that declare a type.
const TYPES: [&str; 4] = ["struct", "enum", "trait", "type"];

/// Returns the type that a line declares for other files. An indented line belongs to a block, such as a trait or a macro.
fn declared(line: &str) -> Option<&str> {
    let (visibility, item) = line.split_once(' ')?;
    let (word, rest) = item.split_once(' ')?;
    let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
    let is_public = visibility == "pub" || visibility.starts_with("pub(");
    (is_public && TYPES.contains(&word)).then(|| &rest[..end])
}

/// Returns the names that several public types have, each with their files.
fn repeated(texts: &[(String, String)]) -> BTreeMap<&str, Vec<&str>> {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (file, text) in texts {
        for name in text.lines().filter_map(declared) {
            found.entry(name).or_default().push(file);
        }
    }
    found.retain(|_, files| files.len() > 1);
    found
}

#[test]
fn every_public_type_has_a_name_of_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let texts: Vec<_> = sources(&root)
        .iter()
        .map(|path| {
            let file = path.strip_prefix(&root).unwrap().to_str().unwrap();
            (file.to_owned(), fs::read_to_string(path).unwrap())
        })
        .collect();

    let found = repeated(&texts);

    assert!(found.is_empty(), "give these types names that say whose they are: {found:#?}");
}

#[test]
fn a_name_that_two_public_types_have_is_found() {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let texts = [
        file("a.rs", "pub struct Answer {\nstruct Line;\n    pub type Line = u8;"),
        file("b.rs", "pub(crate) enum Answer<'a> {\npub trait Line {\n// pub struct Line"),
    ];

    assert_eq!(repeated(&texts), BTreeMap::from([("Answer", vec!["a.rs", "b.rs"])]));
}

/// `Display` of an error shows its own words alone; `chain` and `{cause:#}` write those of its sources, too.
#[test]
fn every_cause_in_the_log_is_written_with_its_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in sources(&root) {
        let text = fs::read_to_string(&file).unwrap();
        for line in text.lines() {
            let logs = ["%cause", "%error", "%fault", "?error"].iter().any(|short| line.contains(short));
            if logs && !line.trim_start().starts_with("//") {
                wrong.push(format!("{}: {}", file.display(), line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "write `cause = chain(&error)` instead:\n{}", wrong.join("\n"));
}
