//! The pages: the map in ARCHITECTURE.md names every room of `src` and every file or folder directly in it, and nothing else;
//! links between pages lead somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Rooms and their entries. A room that is one file has no entries.
type Map = BTreeMap<String, BTreeSet<String>>;

/// Reads the list below `## The map`: an item begins with its room in bold, and every other name in backticks outside of
/// parentheses is one of its entries.
fn drawn(page: &str) -> Map {
    let section = page.split("\n## The map\n").nth(1).expect("ARCHITECTURE.md has no section `## The map`");
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut map = Map::new();
    for item in format!("\n{section}").split("\n- **`").skip(1) {
        let (room, text) = item.split_once("`**").expect("an item of the map begins with its room, as in - **`base`**");
        // The list ends with the first empty line.
        let text = text.split("\n\n").next().unwrap_or_default();
        let names = without_parentheses(text);
        let entries = names.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        assert!(map.insert(room.to_owned(), entries).is_none(), "the map has `{room}` twice");
    }
    map
}

fn without_parentheses(text: &str) -> String {
    let mut depth = 0_usize;
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(letter),
            _ => {}
        }
    }
    out
}

/// The rooms below `root` as they are. `x.rs` and `x/` are one entry; a room's own file and its tests are none.
fn built(root: &Path) -> Map {
    let mut map = Map::new();
    for room in names_in(root) {
        if ["lib", "main"].contains(&room.as_str()) {
            continue;
        }
        let folder = root.join(&room);
        let mut entries = if folder.is_dir() { names_in(&folder) } else { BTreeSet::new() };
        entries.remove("mod");
        entries.remove("tests");
        map.insert(room, entries);
    }
    map
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.is_dir() || path.extension().is_some_and(|ending| ending == "rs"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

/// What `one` has and `other` has not, as paths.
fn missing(one: &Map, other: &Map) -> Vec<String> {
    let nothing = BTreeSet::new();
    let mut found = Vec::new();
    for (room, entries) in one {
        if !other.contains_key(room) {
            found.push(format!("src/{room}"));
        }
        let known = other.get(room).unwrap_or(&nothing);
        found.extend(entries.difference(known).map(|entry| format!("src/{room}/{entry}")));
    }
    found
}

#[test]
fn the_map_names_every_file_and_no_other() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let drawn = drawn(&fs::read_to_string(package.join("ARCHITECTURE.md")).unwrap());
    let built = built(&package.join("src"));

    let (not_drawn, not_built) = (missing(&built, &drawn), missing(&drawn, &built));

    assert!(not_drawn.is_empty(), "add to the map in ARCHITECTURE.md: {}", not_drawn.join(", "));
    assert!(not_built.is_empty(), "take out of the map in ARCHITECTURE.md: {}", not_built.join(", "));
}

#[test]
fn every_link_between_pages_leads_to_a_file() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut broken = Vec::new();
    for folder in ["", "docs", "docs/decisions"] {
        let folder = package.join(folder);
        for entry in fs::read_dir(&folder).unwrap() {
            let page = entry.unwrap().path();
            if page.extension().is_none_or(|ending| ending != "md") {
                continue;
            }
            for link in links(&fs::read_to_string(&page).unwrap()) {
                let file = link.split('#').next().unwrap_or_default();
                if !file.is_empty() && !folder.join(file).exists() {
                    broken.push(format!("{}: {link}", page.display()));
                }
            }
        }
    }

    assert!(broken.is_empty(), "links to nowhere: {broken:#?}");
}

/// Targets of links such as `[words](target)`, those on the web left out.
fn links(page: &str) -> Vec<&str> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets.filter(|target| !target.contains("://")).collect()
}

#[test]
fn what_a_map_lacks_and_what_it_invents_is_found() {
    let page = "# Title\n\n## The map\n\nWords with `code`.\n\n- **`base`** Words: `clock`, `text` (as in\n  `clock.rs`), `ids`.\n\
                - **`upstream`** One file.\n\nMore `words`.\n\n## Next\n\n- **`no`** `room`\n";
    let map = drawn(page);
    let built = Map::from([
        ("base".to_owned(), ["clock", "error", "ids"].map(str::to_owned).into()),
        ("store".to_owned(), ["users"].map(str::to_owned).into()),
    ]);

    assert_eq!(missing(&built, &map), ["src/base/error", "src/store", "src/store/users"]);
    assert_eq!(missing(&map, &built), ["src/base/text", "src/upstream"]);
}
