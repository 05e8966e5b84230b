//! The layers of the crate run one way: a module uses only modules listed above it in `src/lib.rs`.
//!
//! It reads the sources as text, so that a use behind a `cfg` of another platform counts too.
//!
//! 1. Comments, doc examples, literals and items under `#[cfg(test)]` are not looked at.
//! 2. `crate::x` and a `super` chain that reaches the crate's root count alike; `x` must be a
//!    module, above or one's own.
//! 3. `$crate::X` may name a re-export: it is written for the crate that calls the macro. Its
//!    modules are still layers.

#[path = "layering/tokens.rs"]
mod tokens;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use tokens::{Token, tokens, without_tests};

/// A use that the layers do not allow.
#[derive(Debug, PartialEq, Eq)]
struct Upward {
    file: String,
    line: usize,
    text: String,
    problem: Problem,
}

/// What is wrong with a use.
#[derive(Debug, PartialEq, Eq)]
enum Problem {
    /// The module used is listed below the module that uses it.
    Below,
    /// The path names no module of `lib.rs`, but something that the root re-exports.
    Root,
}

impl fmt::Display for Upward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            text,
            problem,
        } = self;
        match problem {
            Problem::Below => write!(
                f,
                "{file}:{line}: `{text}` points upwards: lib.rs lists it below this file's module"
            ),
            Problem::Root => write!(
                f,
                "{file}:{line}: `{text}` goes through the crate's root: name the module it lives in"
            ),
        }
    }
}

/// The modules of `lib.rs`, from the ground up; with those only built for tests where `with_tests`
/// says so.
fn layers(lib: &str, with_tests: bool) -> Vec<String> {
    let tokens = if with_tests {
        tokens(lib)
    } else {
        without_tests(&tokens(lib))
    };
    let declared = tokens
        .windows(3)
        .filter(|three| three[0].text == "mod" && three[2].text == ";");
    declared.map(|three| three[1].text.clone()).collect()
}

/// Every use in `source` that the layers do not allow. `module` is the top module the file belongs
/// to, `depth` how many modules deep the file lies: 1 for `src/x.rs`, 2 for `src/x/y.rs`.
fn upward_uses(
    file: &str,
    source: &str,
    module: &str,
    depth: usize,
    layers: &[String],
) -> Vec<Upward> {
    let tokens = without_tests(&tokens(source));
    let text = |i: usize| tokens.get(i).map_or("", |token| token.text.as_str());
    let is_path = |i: usize| text(i) == ":" && text(i + 1) == ":";
    let own = layers
        .iter()
        .position(|layer| layer == module)
        .expect("the caller knows the file's module");
    let mut inline = InlineModules::default();
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        inline.step(text(at), text(at.wrapping_sub(2)) == "mod");
        let (root, after) = match text(at) {
            "crate" => ("crate", at + 1),
            "super" if !is_path(at.wrapping_sub(2)) || text(at.wrapping_sub(3)) == "self" => {
                let mut supers = 1;
                while is_path(at + 3 * supers - 2) && text(at + 3 * supers) == "super" {
                    supers += 1;
                }
                if supers < depth + inline.depth() {
                    continue;
                }
                ("super", at + 3 * supers - 2)
            }
            _ => continue,
        };
        if !is_path(after) {
            continue;
        }
        let macro_path = at > 0 && text(at - 1) == "$";
        for named in first_segments(&tokens, after + 2) {
            let problem = match layers.iter().position(|layer| *layer == named.text) {
                Some(used) if used <= own => continue,
                Some(_) => Problem::Below,
                None if macro_path => continue,
                None => Problem::Root,
            };
            let text = format!("{root}::{}", named.text);
            found.push(Upward {
                file: file.to_owned(),
                line: named.line,
                text,
                problem,
            });
        }
    }
    found
}

/// The names that follow a path's root: one, or the first of each branch of a `{…}` group.
fn first_segments(tokens: &[Token], at: usize) -> Vec<&Token> {
    if tokens.get(at).is_none_or(|token| token.text != "{") {
        return tokens.get(at).into_iter().collect();
    }
    let mut names = Vec::new();
    let mut depth = 0;
    for pair in tokens[at..].windows(2) {
        match pair[0].text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(pair[0].text.as_str(), "{" | ",") && pair[1].text != "}" {
            names.push(&pair[1]);
        }
    }
    names
}

/// How many `mod x { … }` of the file surround a token: `super` within them stays in the file.
#[derive(Default)]
struct InlineModules {
    braces: usize,
    opened_at: Vec<usize>,
}

impl InlineModules {
    fn step(&mut self, text: &str, names_module: bool) {
        match text {
            "{" => {
                self.braces += 1;
                if names_module {
                    self.opened_at.push(self.braces);
                }
            }
            "}" => {
                if self.opened_at.last() == Some(&self.braces) {
                    self.opened_at.pop();
                }
                self.braces = self.braces.saturating_sub(1);
            }
            _ => {}
        }
    }

    fn depth(&self) -> usize {
        self.opened_at.len()
    }
}

/// Every `.rs` file below `dir`, in a fixed order.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let entries =
        fs::read_dir(dir).unwrap_or_else(|e| panic!("cannot list {}: {e}", dir.display()));
    for entry in entries {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

#[test]
fn every_use_inside_the_crate_points_downwards() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = read(&src.join("lib.rs"));
    let (layers, with_tests) = (layers(&lib, false), layers(&lib, true));
    let mut wrong = Vec::new();
    for path in sources(&src)
        .iter()
        .filter(|path| **path != src.join("lib.rs"))
    {
        let inside = path
            .strip_prefix(&src)
            .expect("found below src")
            .with_extension("");
        let parts: Vec<String> = inside
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        let depth = parts.len() - usize::from(parts.last().is_some_and(|part| part == "mod"));
        let file = format!("src/{}.rs", parts.join("/"));
        if layers.contains(&parts[0]) {
            wrong.extend(
                upward_uses(&file, &read(path), &parts[0], depth, &layers)
                    .iter()
                    .map(Upward::to_string),
            );
        } else if !with_tests.contains(&parts[0]) {
            wrong.push(format!(
                "{file}: lib.rs lists no module `{}`, so this file is never built",
                parts[0]
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "the layers run one way, but:\n{}",
        wrong.join("\n")
    );
}

/// The uses found in a file of the middle one of three modules, as `(line, text, problem)`.
fn found(source: &str, depth: usize) -> Vec<(usize, String, Problem)> {
    let layers = layers("mod ground;\npub mod middle;\npub(crate) mod top;", false);
    let found = upward_uses("src/middle.rs", source, "middle", depth, &layers);
    found
        .into_iter()
        .map(|upward| (upward.line, upward.text, upward.problem))
        .collect()
}

#[test]
fn layers_are_the_modules_of_lib_in_their_order() {
    let lib = "//! mod comment;\nmod b;\n#[cfg(unix)]\npub mod a;\n#[cfg(test)]\nmod only_tests;\nmod c { mod inner {} }\nmod d;";
    assert_eq!(layers(lib, false), ["b", "a", "d"]);
    assert_eq!(layers(lib, true), ["b", "a", "only_tests", "d"]);
}

#[test]
fn planted_upward_use_is_found_with_file_and_line() {
    let layers = layers("mod ground; mod top;", false);
    let found = upward_uses(
        "src/ground.rs",
        "//! Words.\n\nuse crate::top::Thing;\n",
        "ground",
        1,
        &layers,
    );
    let text: Vec<String> = found.iter().map(Upward::to_string).collect();
    assert_eq!(
        text,
        ["src/ground.rs:3: `crate::top` points upwards: lib.rs lists it below this file's module"]
    );
}

#[test]
fn upward_use_is_found_in_every_form() {
    let upward = |line| vec![(line, "crate::top".to_owned(), Problem::Below)];
    assert_eq!(found("fn f() -> crate::top::T { g() }", 1), upward(1));
    assert_eq!(
        found("use crate::{\n    ground::{A, B},\n    top::C,\n};", 1),
        upward(3)
    );
    assert_eq!(found("use crate::{top};", 1), upward(1));
    assert_eq!(
        found("macro_rules! m { () => { $crate::top::f() } }", 1),
        upward(1)
    );
    assert_eq!(
        found(
            "const A: char = '\"'; use crate::top; const B: char = '\"';",
            1
        ),
        upward(1)
    );
    assert_eq!(
        found("fn f<'a>(x: &'a str) {}\nuse crate::top::T;", 1),
        upward(2)
    );
    assert_eq!(
        found(
            "#[cfg(test)]\nmod tests { fn f() {} }\nuse crate::top::T;",
            1
        ),
        upward(3)
    );
    assert_eq!(
        found("#[cfg(test)]\nuse crate::{top};\nuse crate::top;", 1),
        upward(3)
    );
    assert_eq!(found("#[cfg(not(test))]\nuse crate::top::T;", 1), upward(2));
    let by_super = |line| vec![(line, "super::top".to_owned(), Problem::Below)];
    assert_eq!(found("use super::top::T;", 1), by_super(1));
    assert_eq!(found("use super::super::top::T;", 2), by_super(1));
    assert_eq!(
        found("mod inner {\n    use super::super::top::T;\n}", 1),
        by_super(2)
    );
}

#[test]
fn use_through_the_root_is_found() {
    let root = |text: &str| vec![(1, text.to_owned(), Problem::Root)];
    assert_eq!(found("use crate::Error;", 1), root("crate::Error"));
    assert_eq!(
        found("use crate::{ground::A, Error};", 1),
        root("crate::Error")
    );
    assert_eq!(found("use crate::*;", 1), root("crate::*"));
    assert_eq!(found("use super::Error;", 1), root("super::Error"));
}

#[test]
fn downward_and_own_uses_are_not_reported() {
    assert_eq!(
        found("use crate::ground::{A, top};\nuse crate::middle::inner;", 1),
        []
    );
    assert_eq!(found("use crate::{ground::{self, A}, middle::B};", 1), []);
    assert_eq!(found("use super::top::T;", 2), []);
    assert_eq!(
        found("mod inner { use super::top; }\npub(crate) struct S;", 1),
        []
    );
    assert_eq!(found("macro_rules! m { () => { $crate::Error } }", 1), []);
}

#[test]
fn comments_literals_and_tests_are_not_looked_at() {
    assert_eq!(
        found(
            "//! use crate::top;\n/// crate::top\n// crate::top\n/* a /* b */ crate::top */",
            1
        ),
        []
    );
    assert_eq!(
        found("const A: &str = \"crate::top \\\" crate::top\";", 1),
        []
    );
    assert_eq!(
        found(
            "const A: &str = r#\"\" crate::top\"#; const B: &[u8] = b\"crate::top\";",
            1
        ),
        []
    );
    assert_eq!(
        found(
            "#[cfg(test)]\nmod tests { use crate::top; fn f() { {} } }",
            1
        ),
        []
    );
    assert_eq!(
        found(
            "#[cfg(all(test, unix))]\n#[allow(dead_code)]\nfn f() { crate::top::g() }",
            1
        ),
        []
    );
    assert_eq!(found("#![cfg(test)]\nuse crate::top;", 1), []);
}

/// Every use in a file of a room (`src/room/own.rs`) of a module that `src/room.rs` lists below it, or of something that the room itself
/// re-exports, or by `super`, which would hide either.
fn upward_uses_in_room(source: &str, room: &str, own: &str, layers: &[String]) -> Vec<String> {
    let tokens = without_tests(&tokens(source));
    let text = |i: usize| tokens.get(i).map_or("", |token| token.text.as_str());
    let place = |module: &str| layers.iter().position(|layer| layer == module);
    let own_place = place(own);
    let by_name = (0..tokens.len())
        .filter(|&at| text(at) == "crate" && text(at + 3) == room && text(at + 4) == ":")
        .flat_map(|at| first_segments(&tokens, at + 6))
        .filter(|named| place(&named.text).is_none() || place(&named.text) > own_place);
    let by_super = (0..tokens.len())
        .filter(|&at| text(at) == "super" && text(at + 1) == ":")
        .filter_map(|at| tokens.get(at));
    by_name
        .chain(by_super)
        .map(|named| format!("src/{room}/{own}.rs:{}: {}", named.line, named.text))
        .collect()
}

/// The rooms whose files keep an order of their own.
const ROOMS: [&str; 2] = ["net", "hub"];

#[test]
fn every_use_inside_a_room_points_downwards() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for name in ROOMS {
        let room = layers(&read(&src.join(name).with_extension("rs")), false);
        for path in sources(&src.join(name)) {
            let own = path.file_stem().expect("a file").to_string_lossy();
            assert!(room.contains(&own.to_string()), "{name}.rs lists no {own}");
            wrong.extend(upward_uses_in_room(&read(&path), name, &own, &room));
        }
    }
    assert!(
        wrong.is_empty(),
        "the layers of a room run one way, but:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn planted_upward_use_in_a_room_is_found() {
    let room = ["ground".to_owned(), "middle".to_owned(), "top".to_owned()];
    let found = |source| upward_uses_in_room(source, "net", "middle", &room);
    assert_eq!(
        found("use std::io;\nuse crate::net::top::T;"),
        ["src/net/middle.rs:2: top"]
    );
    assert_eq!(
        found("use crate::net::{ground::G, top::T};"),
        ["src/net/middle.rs:1: top"]
    );
    assert_eq!(found("use crate::net::T;"), ["src/net/middle.rs:1: T"]);
    assert_eq!(
        found("fn f(t: &super::top::T) {}"),
        ["src/net/middle.rs:1: super"]
    );
    assert!(found("use crate::net::ground::G;\nuse crate::net::middle::M;").is_empty());
    assert!(found("pub(super) fn f() {}").is_empty());
}
