//! Imports go one way: rooms import from lower floors only, files never in a circle, and each outside crate has its doors.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Rooms by floor, the lowest first. Rooms of one floor don't know each other.
const FLOORS: &[&[&str]] = &[
    &["base"],
    &["model"],
    &["config"],
    &["dialect", "provider", "store"],
    &["auth", "upstream"],
    &["rules"],
    &["gateway"],
    &["control", "http"],
    &["serve"],
    &["cli"],
];

/// In these rooms no entry imports its neighbour, except the entries named behind it, which serve the others.
const STRANGERS: &[(&str, &[&str])] =
    &[("rules", &[]), ("dialect", &["data", "image", "json", "models", "surrogates", "wire"]), ("provider", &["wire"])];

/// Outside crates, and the only modules that may name them.
const DOORS: &[(&str, &[&str])] = &[
    ("diesel", &["store"]),
    ("diesel_migrations", &["store"]),
    ("awc", &["upstream"]),
    ("actix_web", &["http", "serve::server", "serve::telemetry", "cli"]),
    ("actix_governor", &["http"]),
    ("jiff", &["base::clock"]),
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
        // Tokens and not items, since the arguments of macros and attributes name paths, too.
        let tokens = fs::read_to_string(&path).unwrap().parse().unwrap_or_else(|cause| panic!("{file}: {cause}"));
        let mut paths = BTreeSet::new();
        paths_in(tokens, &mut paths);
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

/// Collects each path of at least two names, groups such as `a::{b, c::d}` spelt out. Items that only tests see are left out.
fn paths_in(stream: TokenStream, found: &mut BTreeSet<Vec<String>>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(_) => at = path_at(&tokens, at, Vec::new(), found),
            TokenTree::Group(group) if group.to_string().replace(' ', "") == "[cfg(test)]" => {
                at = item_end(&tokens, at)
            }
            TokenTree::Group(group) => {
                paths_in(group.stream(), found);
                at += 1;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => at += 1,
        }
    }
}

/// Where the item ends that an attribute at `at` belongs to: behind its block or its semicolon.
fn item_end(tokens: &[TokenTree], at: usize) -> usize {
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    };
    tokens[at..].iter().position(ends).map_or(tokens.len(), |length| at + length + 1)
}

/// Reads the path that begins at the name `at`, behind `prefix`. Returns where it ends.
fn path_at(tokens: &[TokenTree], mut at: usize, mut path: Vec<String>, found: &mut BTreeSet<Vec<String>>) -> usize {
    let colon = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(name)) => path.push(name.to_string()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
                for item in inner.split(is_comma).filter(|item| !item.is_empty()) {
                    path_at(item, 0, path.clone(), found);
                }
                return at + 1;
            }
            // A star, or the end of a generic argument.
            _ => {
                found.insert(path);
                return at + 1;
            }
        }
        at += 1;
        if !(colon(at) && colon(at + 1)) {
            if path.len() > 1 {
                found.insert(path);
            }
            return at;
        }
        at += 2;
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
            "rules/policy.rs: `actix_web` may only be named in [\"http\", \"serve::server\", \"serve::telemetry\", \"cli\"]",
            "store/users.rs: `store` imports `dialect`, which is on no lower floor",
        ]
    );
}

#[test]
fn a_circle_is_seen() {
    let found = circles(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/floors/bad"));

    assert_eq!(found, ["store::tokens -> store::words -> store::users -> store::tokens"]);
}
