//! What must hold for what people type; the fuzzer and property tests feed these.
//!
//! # Panics
//! Each of them, if a promise is broken.

use serde_json::json;

use crate::template::{Mode, Template, Value};

/// Any text is a template or an error, and a template ends, whatever it is applied to.
pub fn template(bytes: &[u8]) {
    let value = json!({"A": {"B": [1, "x", null, 2.5]}, "C": "text", "D": true, "L": {"k": "v"}});
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(template) = Template::parse(text)
    {
        for mode in [Mode::Lenient, Mode::Strict, Mode::Heading] {
            // What it says does not matter.
            let _any = template.on(&Value::from(&value), mode);
        }
    }
}

/// Any text is refused or a mount with a type and a target, whichever flag it stands behind.
pub fn mount(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        crate::commands::mount::check(text);
    }
}
