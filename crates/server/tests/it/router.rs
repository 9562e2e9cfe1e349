use http::{Method, StatusCode};
use proptest::prelude::*;
use server::router::{ContainerVerb, Route, find, split_version};

fn route(method: Method, path: &str) -> Option<Route> {
    let (_, path) = split_version(path).ok()?;
    find(&method, &path).ok()
}

#[test]
fn paths_lead_to_routes_with_and_without_version() {
    for prefix in ["", "/v1.24", "/v1.51"] {
        let at = |path: &str| format!("{prefix}{path}");
        assert_eq!(route(Method::HEAD, &at("/_ping")), Some(Route::Ping));
        assert_eq!(route(Method::POST, &at("/containers/web/attach")), Some(Route::Container(ContainerVerb::Attach, "web".into())));
        assert_eq!(route(Method::DELETE, &at("/containers/web")), Some(Route::Container(ContainerVerb::Remove, "web".into())));
        assert_eq!(route(Method::GET, &at("/exec/abc/json")), Some(Route::ExecInspect("abc".into())));
    }
}

#[test]
fn names_of_images_may_hold_slashes_colons_and_escapes() {
    for path in ["/v1.51/images/reg:5000/a/b:t/json", "/v1.51/images/reg:5000%2Fa%2Fb%3At/json", "/images/reg%3A5000/a/b:t/json"] {
        assert_eq!(route(Method::GET, path), Some(Route::ImageInspect("reg:5000/a/b:t".into())), "{path}");
    }
    assert_eq!(route(Method::DELETE, "/images/a/b:t"), Some(Route::ImageRemove("a/b:t".into())));
    assert_eq!(route(Method::GET, "/images/a/b/get"), Some(Route::ImageSave(Some("a/b".into()))));
}

#[test]
fn a_wrong_method_is_a_page_not_found() {
    for (method, path) in [
        (Method::PUT, "/containers/create"),
        (Method::GET, "/containers/web/start"),
        (Method::GET, "/nope"),
        (Method::POST, "/_ping"),
        (Method::DELETE, "/containers/"),
        (Method::GET, "/"),
        (Method::GET, ""),
    ] {
        let error = find(&method, path).unwrap_err();
        assert_eq!(error.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(error.message, "page not found");
    }
}

#[test]
fn versions_outside_of_the_range_are_refused_in_docker_s_words() {
    let new = split_version("/v1.99/info").unwrap_err();
    assert_eq!(new.status, StatusCode::BAD_REQUEST);
    assert_eq!(new.message, "client version 1.99 is too new. Maximum supported API version is 1.51");
    let old = split_version("/v1.12/info").unwrap_err();
    assert_eq!(
        old.message,
        "client version 1.12 is too old. Minimum supported API version is 1.24, \
         please upgrade your client to a newer version"
    );
    assert!(split_version("/vendor/x").is_ok());
}

proptest! {
    #[test]
    fn no_path_is_a_panic(method in "GET|POST|PUT|HEAD|DELETE", path in ".{0,80}") {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let _ = split_version(&path).and_then(|(_, path)| find(&method, &path));
    }

    #[test]
    fn each_name_comes_through(name in "[a-zA-Z0-9][a-zA-Z0-9_./:@-]{0,40}[a-zA-Z0-9]") {
        let escaped: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for path in [format!("/images/{name}/history"), format!("/v1.44/images/{escaped}/history")] {
            prop_assert_eq!(route(Method::GET, &path), Some(Route::ImageHistory(name.clone())));
        }
    }
}
