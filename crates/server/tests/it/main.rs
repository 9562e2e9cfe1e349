//! The server without containers: routes, queries, filters, times.

mod query;
mod router;
mod times;

/// A file in this directory that is no module would never be compiled.
#[test]
fn each_file_is_a_module() {
    let source = include_str!("main.rs");
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for entry in std::fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        assert!(module == "main" || source.contains(&format!("mod {module};")), "{name} is not a module of main.rs");
    }
}
