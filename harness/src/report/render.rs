//! Renders templates. Values from a run are escaped for the kind of file, so that no template
//! can forget it.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, State, UndefinedBehavior, Value};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// Fills in a template; `name` ends in `.html` or `.md`, which decides the escaping.
pub(crate) fn render(name: &str, template: &str, context: impl Serialize) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_auto_escape_callback(|name| {
        if name.ends_with(".md") { AutoEscape::Custom("markdown".into()) } else { AutoEscape::Html }
    });
    environment.set_formatter(|out, state, value| match state.auto_escape() {
        AutoEscape::Custom(_) if value.is_safe() => Ok(write!(out, "{value}")?),
        AutoEscape::Custom(_) => Ok(out.write_str(&markdown(&value.to_string()))?),
        _ if value.is_safe() => Ok(write!(out, "{value}")?),
        _ => Ok(out.write_str(&html(&value.to_string()))?),
    });
    environment.add_filter("code", |text: &str| Value::from_safe_string(code(text)));
    environment.add_filter("prose", |state: &State, text: &str| {
        let set = match state.auto_escape() {
            AutoEscape::Custom(_) => prose(text, markdown, code),
            _ => prose(text, html, |code| format!("<code>{}</code>", html(code))),
        };
        Value::from_safe_string(set)
    });
    environment.add_filter("block", |text: &str| Value::from_safe_string(text.replace("```", "` ` `")));
    environment
        .render_named_str(name, template, Value::from(Serde(&context)))
        .with_context(|| format!("the template of {name} does not fit the report"))
}

/// The content security policy of a page that consists of this style and this
/// script: nothing is loaded, and nothing else that got into it is applied or run.
pub(crate) fn policy(style: &str, script: &str) -> String {
    let hash = |text: &str| base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(style),
        hash(script)
    )
}

/// Escapes text for Markdown, also in the cell of a table.
pub(crate) fn markdown(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\n' | '\r' => escaped.push(' '),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' => {
                escaped.push('\\');
                escaped.push(c);
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Text as inline code, without characters that would end it or the table cell around it.
fn code(text: &str) -> String {
    format!("`{}`", text.replace(['`', '|', '\n', '\r'], " "))
}

/// Escapes text for HTML, also in an attribute between double quotes.
fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#x27;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// A message: escaped, with text between backticks set as code.
fn prose(text: &str, escape: fn(&str) -> String, code: fn(&str) -> String) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return escape(text); // a backtick without its other half is only a backtick
    }
    let set = |(index, part): (usize, &&str)| if index % 2 == 0 { escape(part) } else { code(part) };
    parts.iter().enumerate().map(set).collect()
}

/// A relative address: what a folder's name may hold and an address may not is encoded.
pub(crate) fn address(path: &std::path::Path) -> String {
    let mut link = String::new();
    for byte in path.to_string_lossy().bytes() {
        if byte.is_ascii_alphanumeric() || b"-_./".contains(&byte) {
            link.push(char::from(byte));
        } else {
            link += &format!("%{byte:02X}");
        }
    }
    link
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_for_the_file_it_goes_into() {
        let check = |name: &str, template: &str, text: &str, expected: &str| {
            let made = render(name, template, minijinja::context! { text }).expect("it renders");
            assert_eq!(made, expected);
        };
        check("a.html", "{{ text }}", "<b>&\"'/", "&lt;b&gt;&amp;&quot;&#x27;/");
        check("a.md", "{{ text }}", "<b> a_b | [x](y)\n", "&lt;b&gt; a\\_b \\| \\[x\\](y) ");
        check("a.md", "{{ text | code }}", "a`b|c_d", "`a b c_d`");
        check("a.html", "{{ text | prose }}", "run `a<b` ok", "run <code>a&lt;b</code> ok");
        check("a.html", "{{ text | prose }}", "<b> `", "&lt;b&gt; `");
        check("a.md", "{{ text | prose }}", "run `a_b|<c` a_b <i>", "run `a_b <c` a\\_b &lt;i&gt;");
        check("a.md", "{{ text | prose }}", "a `b", "a \\`b");
        assert!(render("a.html", "{{ missing }}", ()).is_err());
    }
}
