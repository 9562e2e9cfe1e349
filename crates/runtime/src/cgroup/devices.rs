//! Device rules, whatever the version enforces them with.

use oci::runtime::DeviceRule;

/// What every container may use: kind, major, minor, access. Terminals and the devices of /dev come with each container, and
/// nodes may be made (using them is another matter). **Source:** runtime-spec, `config-linux.md`, default devices; runc, `AllowedDevices`.
const ALWAYS: [(&str, Option<i64>, Option<i64>, &str); 11] = [
    ("c", None, None, "m"),
    ("b", None, None, "m"),
    ("c", Some(1), Some(3), "rwm"),
    ("c", Some(1), Some(5), "rwm"),
    ("c", Some(1), Some(7), "rwm"),
    ("c", Some(1), Some(8), "rwm"),
    ("c", Some(1), Some(9), "rwm"),
    ("c", Some(5), Some(0), "rwm"),
    ("c", Some(5), Some(1), "rwm"),
    ("c", Some(5), Some(2), "rwm"),
    ("c", Some(136), None, "rwm"),
];

/// The rules of a specification with those that always hold; none if nothing is restricted.
pub(super) fn rules(own: &[DeviceRule]) -> Option<Vec<DeviceRule>> {
    if own.iter().all(allows_all) {
        return None;
    }
    let always = ALWAYS.map(|(kind, major, minor, access)| DeviceRule {
        allow: true,
        kind: Some(kind.into()),
        major,
        minor,
        access: Some(access.into()),
    });
    // What no rule names is denied, as runc reads a list that begins otherwise.
    let deny = DeviceRule { access: Some("rwm".into()), ..DeviceRule::default() };
    let first = (!own.first().is_some_and(covers_all)).then_some(deny);
    Some(first.into_iter().chain(own.iter().cloned()).chain(always).collect())
}

/// Whether a rule allows everything.
fn allows_all(rule: &DeviceRule) -> bool {
    rule.allow
        && covers_all(rule)
        && rule.access.as_deref().is_none_or(|access| access.is_empty() || ["r", "w", "m"].iter().all(|letter| access.contains(letter)))
}

/// Whether a rule is about every device.
pub(super) fn covers_all(rule: &DeviceRule) -> bool {
    rule.kind.as_deref().is_none_or(|kind| kind == "a" || kind.is_empty()) && number(rule.major).is_none() && number(rule.minor).is_none()
}

/// A device number; negative ones mean any, as absent ones do.
pub(super) fn number(number: Option<i64>) -> Option<i64> {
    number.filter(|number| *number >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_restricting_lists_are_enforced() {
        let all = |allow| DeviceRule { allow, access: Some("rwm".into()), ..DeviceRule::default() };
        assert_eq!(rules(&[]), None);
        assert_eq!(rules(&[all(true)]), None);
        assert_eq!(rules(&[all(false)]).unwrap().len(), 12);
        assert_eq!(rules(&[all(false), all(true)]).unwrap().len(), 13);
    }
}
