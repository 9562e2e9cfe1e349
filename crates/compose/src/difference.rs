//! In which fields two services differ, for people.

use serde_json::Value;

/// Fields in which a container made from one cannot differ from one made from the other: they are not in the hash.
const ASIDE: [&str; 5] = ["build", "depends_on", "profiles", "pull_policy", "scale"];

/// At most so many fields are named.
const SHOWN: usize = 5;

/// Says which fields differ between the service a container was made of, as its label has it, and the one of now.
#[must_use]
pub(crate) fn tell(label: &str, now: &Value) -> String {
    let Ok(before) = serde_json::from_str::<Value>(label) else {
        return "its configuration differs".to_owned();
    };
    let mut paths = Vec::new();
    compare(&before, now, "", &mut paths);
    if paths.is_empty() {
        return "its configuration differs".to_owned();
    }
    let more = paths.len().saturating_sub(SHOWN);
    paths.truncate(SHOWN);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", paths.join(", "))
}

fn compare(before: &Value, now: &Value, path: &str, found: &mut Vec<String>) {
    match (before, now) {
        (Value::Object(left), Value::Object(right)) => {
            let names: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for name in names {
                if path.is_empty() && ASIDE.contains(&name.as_str()) {
                    continue;
                }
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare(left.get(name).unwrap_or(&Value::Null), right.get(name).unwrap_or(&Value::Null), &path, found);
            }
        }
        (left, right) if left == right => {}
        (Value::Null, _) => found.push(format!("{path} is new")),
        (_, Value::Null) => found.push(format!("{path} is gone")),
        // What is set in the environment may be secret.
        _ if path.starts_with("environment.") => found.push(format!("{path} differs")),
        (left, right) => found.push(format!("{path}: {} is now {}", short(left), short(right))),
    }
}

/// A value in few letters.
fn short(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if text.chars().count() > 40 { format!("{}…", text.chars().take(40).collect::<String>()) } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::tell;

    #[test]
    fn the_fields_that_differ_are_named_and_secrets_are_not_shown() {
        let before = json!({"image": "a:1", "environment": {"A": "x", "B": "1"}, "build": {"context": "."}}).to_string();
        let now = json!({"image": "a:2", "environment": {"A": "y", "B": "1"}, "user": "7"});
        assert_eq!(tell(&before, &now), "environment.A differs, image: a:1 is now a:2, user is new");
        assert_eq!(tell("", &now), "its configuration differs");
    }
}
