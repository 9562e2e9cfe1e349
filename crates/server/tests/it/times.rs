use proptest::prelude::*;
use server::glob;
use server::time::{from_unix_nanos, human, parse_rfc3339, rfc3339, timestamp, unix_nanos};
use std::time::Duration;

proptest! {
    #[test]
    fn times_come_back(nanos in -2_000_000_000_000_000_000_i64..8_000_000_000_000_000_000) {
        prop_assert_eq!(parse_rfc3339(&rfc3339(nanos)), Some(nanos));
        prop_assert_eq!(unix_nanos(from_unix_nanos(nanos)), nanos);
    }

    #[test]
    fn no_timestamp_is_a_panic(text in "[-+0-9TZ:. ]{0,40}|.{0,40}") {
        let _ = timestamp(&text);
    }

    #[test]
    fn no_duration_is_a_panic(seconds in any::<u64>()) {
        prop_assert!(!human(Duration::from_secs(seconds)).is_empty());
    }

    #[test]
    fn no_pattern_is_a_panic(pattern in "[a-c*?\\[\\]^\\\\/-]{0,12}", text in "[a-c/]{0,12}") {
        let _ = glob::matches(&pattern, &text);
    }

    #[test]
    fn a_text_matches_itself(text in "[a-z/.:]{0,20}") {
        prop_assert!(glob::matches(&text, &text));
    }
}
