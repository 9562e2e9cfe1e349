//! Which manifest of an index runs here.

use oci::Platform;
use oci::image::{Descriptor, Index};

/// No manifest of the index is for the platform; the text is Docker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no matching manifest for {wanted} in the manifest list entries")]
pub struct ChooseError {
    /// The platform.
    pub wanted: String,
}

/// Finds the manifest for `wanted`, else one for an older variant of its processor.
///
/// # Errors
/// [`ChooseError`].
/// **Source:** containerd, `platforms/compare.go`, `platformVector`.
pub fn choose<'a>(index: &'a Index, wanted: &Platform) -> Result<&'a Descriptor, ChooseError> {
    let offered = || index.manifests.iter().filter_map(|entry| Some((entry, entry.platform.as_ref()?)));
    for platform in older(wanted) {
        if let Some((entry, _)) = offered().find(|(_, offered)| platform.matches(offered)) {
            return Ok(entry);
        }
    }
    // An index of one image that says nothing of platforms can only mean that one.
    match index.manifests.as_slice() {
        [only] if only.platform.is_none() => Ok(only),
        _ => Err(ChooseError { wanted: wanted.to_string() }),
    }
}

/// The platform and those whose programs it runs too, the best first.
fn older(wanted: &Platform) -> Vec<Platform> {
    let variant = |variant: Option<String>| Platform { variant, ..wanted.clone() };
    let digit = wanted.variant.as_deref().and_then(|text| text.strip_prefix('v')).and_then(|text| text.parse::<u8>().ok());
    let mut all = vec![wanted.clone()];
    match (wanted.architecture.as_str(), digit) {
        ("arm", digit) => all.extend((5..digit.unwrap_or(7)).rev().map(|older| variant(Some(format!("v{older}"))))),
        ("amd64", Some(digit)) => {
            all.extend((2..digit).rev().map(|older| variant(Some(format!("v{older}")))));
            all.push(variant(None));
        }
        ("arm64", Some(9..)) => all.push(variant(None)),
        _ => {}
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[&str]) -> Index {
        let entry = |text: &&str| {
            let platform: Platform = text.parse().unwrap();
            serde_json::json!({"digest": oci::Digest::of(text.as_bytes()), "size": 1, "platform": platform})
        };
        serde_json::from_value(serde_json::json!({"schemaVersion": 2, "manifests": platforms.iter().map(entry).collect::<Vec<_>>()}))
            .unwrap()
    }

    #[test]
    fn the_nearest_variant_is_chosen() {
        let found = |platforms: &[&str], wanted: &str| {
            choose(&index(platforms), &wanted.parse().unwrap()).map(|entry| entry.platform.as_ref().unwrap().to_string())
        };
        assert_eq!(found(&["linux/arm/v5", "linux/arm/v6", "linux/amd64"], "linux/arm/v7").unwrap(), "linux/arm/v6");
        assert_eq!(found(&["linux/amd64", "linux/amd64/v2"], "linux/amd64/v3").unwrap(), "linux/amd64/v2");
        assert_eq!(found(&["linux/386", "linux/amd64"], "linux/amd64").unwrap(), "linux/amd64");
        let error = found(&["linux/arm/v7"], "linux/amd64").unwrap_err();
        assert_eq!(error.to_string(), "no matching manifest for linux/amd64 in the manifest list entries");
    }
}
