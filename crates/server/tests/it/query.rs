use docker_api::filters::Filters;
use proptest::prelude::*;
use server::query::{Query, percent_decode};

#[test]
fn booleans_are_true_unless_they_say_no() {
    for (text, flag) in [
        ("a=1", true),
        ("a=true", true),
        ("a=yes", true),
        ("a=0", false),
        ("a=False", false),
        ("a=no", false),
        ("a=none", false),
        ("a=", false),
        ("a", false),
        ("b=1", false),
    ] {
        assert_eq!(Query::parse(text).flag("a"), flag, "{text}");
    }
}

#[test]
fn numbers_are_refused_in_go_s_words() {
    let query = Query::parse("limit=zz&t=-1");
    let error = query.number::<i64>("limit").unwrap_err();
    assert_eq!(error.message, "strconv.Atoi: parsing \"zz\": invalid syntax");
    assert_eq!(query.number::<i64>("t").unwrap(), Some(-1));
    assert_eq!(query.number::<i64>("absent").unwrap(), None);
}

#[test]
fn filters_have_two_forms() {
    let today = r#"{"label":{"a=b":true,"off":false},"status":{"running":true}}"#;
    let legacy = r#"{"label":["a=b"],"status":["running"]}"#;
    for text in [today, legacy] {
        let filters = Filters::parse(text).unwrap();
        assert_eq!(filters.get("label"), ["a=b"]);
        assert_eq!(filters.get("status"), ["running"]);
        assert_eq!(Filters::parse(&filters.to_json()).unwrap(), filters);
    }
    for text in ["zz", "[]", r#"{"a":1}"#, r#"{"a":{"b":"c"}}"#, r#"{"a":[1]}"#] {
        assert!(Filters::parse(text).is_err(), "{text}");
    }
    assert_eq!(Filters::parse(legacy).unwrap().only(&["label"]).unwrap_err().to_string(), "invalid filter 'status'");
}

proptest! {
    #[test]
    fn no_query_is_a_panic(text in ".{0,120}") {
        let query = Query::parse(&text);
        let _ = (query.flag("a"), query.number::<u16>("b").is_ok(), query.filters().is_ok());
    }

    #[test]
    fn escapes_come_back(text in ".{0,40}") {
        let escaped: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        prop_assert_eq!(percent_decode(&escaped, false), text);
    }

    #[test]
    fn filters_survive_their_json(terms in prop::collection::btree_map("[a-z!]{1,8}", prop::collection::btree_set(".{0,12}", 1..4), 0..4)) {
        let mut filters = Filters::default();
        for (name, values) in &terms {
            for value in values {
                filters.add(name, value);
            }
        }
        prop_assert_eq!(Filters::parse(&filters.to_json()).unwrap(), filters);
    }
}
