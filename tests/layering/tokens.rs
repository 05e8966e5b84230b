//! The words of a Rust source, as far as finding paths in it needs.
//!
//! It stands apart from the layers: it knows how Rust is written and nothing of this crate.
//!
//! 1. Comments, doc examples included, give no token; a string, byte or character literal gives one
//!    `"`.
//! 2. A token's line is the line it stands on in the source.

/// One word or one character of punctuation, and the line it stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// The words and punctuation of a source, without comments; a literal becomes one `"`.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => line_comment_end(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => block_comment_end(&chars, at),
            c if c.is_whitespace() => at + 1,
            _ => {
                let (end, text) = word(&chars, at);
                tokens.push(Token { text, line });
                end
            }
        };
        line += chars[at..end].iter().filter(|&&c| c == '\n').count();
        at = end;
    }
    tokens
}

/// Where the token that starts at `at` ends, and its text.
fn word(chars: &[char], at: usize) -> (usize, String) {
    let literal = || String::from('"');
    let ident_end = |from: usize| {
        (from..chars.len())
            .find(|&i| !is_ident(chars[i]))
            .unwrap_or(chars.len())
    };
    match chars[at] {
        '"' => (quoted_end(chars, at, '"'), literal()),
        // `'a'` and `'\n'` are literals, `'a` is a lifetime.
        '\'' if chars.get(at + 1) == Some(&'\\') || chars.get(at + 2) == Some(&'\'') => {
            (quoted_end(chars, at, '\''), literal())
        }
        c if is_ident(c) => {
            let end = ident_end(at);
            let text: String = chars[at..end].iter().collect();
            match (text.as_str(), chars.get(end)) {
                ("b" | "c", Some('"')) => (quoted_end(chars, end, '"'), literal()),
                ("b", Some('\'')) => (quoted_end(chars, end, '\''), literal()),
                ("r" | "br" | "cr", Some('"' | '#')) => match raw_end(chars, end) {
                    Some(end) => (end, literal()),
                    // `r#type` is the word `type`.
                    None => (
                        ident_end(end + 1),
                        chars[end + 1..ident_end(end + 1)].iter().collect(),
                    ),
                },
                _ => (end, text),
            }
        }
        c => (at + 1, c.to_string()),
    }
}

fn is_ident(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn line_comment_end(chars: &[char], at: usize) -> usize {
    (at..chars.len())
        .find(|&i| chars[i] == '\n')
        .unwrap_or(chars.len())
}

/// Block comments nest.
fn block_comment_end(chars: &[char], at: usize) -> usize {
    let (mut depth, mut i) = (0, at);
    while i < chars.len() {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => (depth, i) = (depth + 1, i + 2),
            ('*', Some('/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn quoted_end(chars: &[char], at: usize, quote: char) -> usize {
    let mut i = at + 1;
    while i < chars.len() && chars[i] != quote {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

/// The end of a raw string whose hashes or quote start at `at`; none if it is a raw identifier.
fn raw_end(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at..].iter().take_while(|&&c| c == '#').count();
    if chars.get(at + hashes) != Some(&'"') {
        return None;
    }
    let closes =
        |&i: &usize| chars[i] == '"' && (1..=hashes).all(|n| chars.get(i + n) == Some(&'#'));
    let close = (at + hashes + 1..chars.len()).find(closes);
    Some(close.map_or(chars.len(), |close| close + hashes + 1))
}

/// The tokens without the items under `#[cfg(test)]` or `#[cfg(all(test, …))]`; nothing if
/// `#![cfg(test)]` holds for the file.
pub(crate) fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if starts_with(&tokens[at..], "#![cfg(test") {
            return Vec::new();
        }
        if ["#[cfg(test)]", "#[cfg(all(test,"]
            .iter()
            .any(|cfg| starts_with(&tokens[at..], cfg))
        {
            at = item_end(tokens, at);
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// Whether the tokens, written together, start with `text`.
fn starts_with(tokens: &[Token], text: &str) -> bool {
    let mut rest = text;
    for token in tokens {
        if rest.is_empty() {
            break;
        }
        let Some(after) = rest.strip_prefix(token.text.as_str()) else {
            return false;
        };
        rest = after;
    }
    rest.is_empty()
}

/// Where the item that starts at `at` with its attributes ends: after its `;`, its `,` or its
/// braces.
fn item_end(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            // The brace of whatever holds the item: a field or an arm without a comma ends before
            // it.
            "}" if depth == 0 => return i,
            "}" | ")" | "]" => {
                depth -= 1;
                // `use a::{b};` and `let a = {…};` end at their semicolon, a body at its brace.
                if depth == 0
                    && token.text == "}"
                    && tokens.get(i + 1).is_none_or(|next| next.text != ";")
                {
                    return i + 1;
                }
            }
            ";" | "," if depth == 0 => return i + 1,
            _ => {}
        }
    }
    tokens.len()
}
