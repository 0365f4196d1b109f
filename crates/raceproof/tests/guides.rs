//! `docs/rooms/README.md` finds a guide, a program and tests for each pattern. All of them exist, and none is left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const PROGRAMS: &str = "crates/raceproof/examples";

/// Measurements and the sinks of fencing, which are no room's.
const ELSEWHERE: [&str; 3] = ["fenced_file", "store_served", "store_speed"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn names_in(directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(directory)).expect("a directory");
    let names = entries.map(|entry| entry.expect("an entry").path().file_stem().expect("a name").to_owned());
    names.map(|name| name.into_string().expect("plain")).collect()
}

/// The name of every function of a test in these crates.
fn tests() -> BTreeSet<String> {
    fn gather(directory: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                gather(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source");
                let after_an_attribute = text.lines().zip(text.lines().skip(1)).filter_map(|(before, line)| {
                    let is_test = ["#[test]", "#[tokio::test"].iter().any(|test| before.trim().starts_with(test));
                    let name = line.split_once("fn ")?.1.split_once('(')?.0;
                    is_test.then(|| name.to_owned())
                });
                found.extend(after_an_attribute);
            }
        }
    }
    let mut found = BTreeSet::new();
    for sources in ["crates/raceproof-core/src", "crates/raceproof/src", "crates/raceproof/tests"] {
        gather(&root().join(sources), &mut found);
    }
    found
}

/// The cells of every row: pattern, guide, programs, tests.
fn rows(index: &str) -> Vec<[&str; 4]> {
    let rows = index.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| pattern"));
    let cells = rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    cells.map(|cells| cells.clone().try_into().unwrap_or_else(|_| panic!("four cells: {cells:?}"))).collect()
}

/// Where the links of a cell lead, from the directory of the index.
fn links(cell: &str) -> Vec<&str> {
    cell.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(to, _)| to).collect()
}

/// A heading as a link names it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()
}

#[test]
fn every_pattern_has_a_guide_a_program_and_tests() {
    let (index, tests) = (read("docs/rooms/README.md"), tests());
    let rows = rows(&index);
    assert!(rows.len() > 20, "the table was read");
    for [pattern, guides, programs, named] in rows {
        assert!(!links(guides).is_empty() && !links(programs).is_empty(), "{pattern}");
        for link in links(guides).into_iter().chain(links(programs)) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let text = read(&format!("docs/rooms/{path}"));
            let headings = || text.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor);
            assert!(heading.is_empty() || headings().any(|known| known == heading), "{pattern}: {link}");
        }
        let named: Vec<_> = named.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{pattern}");
        for test in named {
            assert!(tests.contains(test), "{pattern}: there is no test {test:?}");
        }
    }
}

#[test]
fn every_guide_and_every_program_is_in_the_index_and_every_program_is_run() {
    let index = read("docs/rooms/README.md");
    let linked: BTreeSet<_> =
        rows(&index).iter().flat_map(|row| links(row[1]).into_iter().chain(links(row[2]))).collect();
    let mut guides = names_in("docs/rooms");
    guides.remove("README");
    for guide in guides {
        let file = format!("{guide}.md");
        assert!(linked.iter().any(|link| link.split('#').next() == Some(&file)), "{file} is not in the index");
        assert!(read("crates/raceproof/src/lib.rs").contains(&format!("rooms/{file}\")")), "{file} is not compiled");
    }
    let stories = read("crates/raceproof/tests/stories.rs");
    for program in names_in(PROGRAMS).iter().filter(|program| !ELSEWHERE.contains(&program.as_str())) {
        assert!(linked.contains(&*format!("../../{PROGRAMS}/{program}.rs")), "{program} is not in the index");
        assert!(stories.contains(&format!("{program}::main()")), "{program} is not run");
    }
}

/// The ids of a text: what is bold and a letter with a number, as K1.
fn ids(text: &str) -> BTreeSet<String> {
    let bold = text.split("**").skip(1).step_by(2);
    let words = bold.flat_map(|bold| bold.split(|c: char| !c.is_ascii_alphanumeric()));
    let is_id = |word: &&str| {
        let mut letters = word.chars();
        letters.next().is_some_and(|c| c.is_ascii_uppercase()) && matches!(letters.as_str().parse(), Ok(1..=99_u8))
    };
    words.filter(is_id).map(str::to_lowercase).collect()
}

#[test]
fn every_guarantee_has_tests_with_its_id_in_their_names() {
    let tests = tests();
    let tested: BTreeSet<&str> = tests.iter().flat_map(|name| name.split('_')).collect();
    let mut found = BTreeSet::new();
    for guide in names_in("docs/rooms") {
        for id in ids(&read(&format!("docs/rooms/{guide}.md"))) {
            assert!(tested.contains(&*id), "{guide}: no test is named after {id}");
            found.insert(id);
        }
    }
    assert!(found.len() > 20, "the guarantees were read: {found:?}");
}

#[test]
fn every_guide_tells_of_the_race_the_fix_the_guarantee_and_the_limits() {
    let mut guides = names_in("docs/rooms");
    for general in ["README", "observability"] {
        assert!(guides.remove(general));
    }
    for guide in guides {
        let text = read(&format!("docs/rooms/{guide}.md")).to_lowercase();
        for part in ["the race", "the fix", "the guarantee", "the limits"] {
            assert!(text.contains(part), "{guide} says nothing of {part}");
        }
    }
}

#[test]
fn every_page_with_rust_in_it_is_compiled() {
    let takes = ["crates/raceproof/src/lib.rs", "crates/raceproof/src/fence/mod.rs"].map(read);
    let mut pages = names_in("docs");
    assert!(pages.remove("rooms"));
    for page in pages {
        let has_rust = read(&format!("docs/{page}.md")).lines().any(|line| line.starts_with("```rust"));
        let is_taken = takes.iter().any(|text| text.contains(&format!("/docs/{page}.md\")]")));
        assert!(is_taken || !has_rust, "docs/{page}.md is not compiled");
    }
}

#[test]
fn every_feature_is_listed_where_features_are() {
    let (manifest, guide, page) =
        (read("crates/raceproof/Cargo.toml"), read("docs/library.md"), read("crates/raceproof/src/lib.rs"));
    let (_, features) = manifest.split_once("\n[features]\n").expect("the section");
    let (features, _) = features.split_once("\n[").expect("its end");
    let names = features.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
    let names: Vec<_> = names.map(|(name, _)| name).filter(|name| *name != "default").collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(guide.contains(&format!("\n| `{name}` | ")), "{name} is not in the guide");
        assert!(page.contains(&format!("\n//! - `{name}`")), "{name} is not on the crate's page");
    }
}

/// The metrics of the guide are metrics that instances have.
#[cfg(all(feature = "prometheus", feature = "cache"))]
#[tokio::test]
async fn what_to_watch_is_there_to_be_watched() {
    use raceproof::registry::Registry;

    let registry = Registry::new();
    drop((registry.breaker("a"), registry.retry("a"), registry.lock("a"), registry.supervisor("a")));
    drop((registry.bus::<()>("a"), registry.cache::<u8, u8, std::io::Error>("a")));
    let worker = registry.worker("a", || |(): ()| std::future::ready(()));
    let service = raceproof::service::Service::new(|| async { Ok::<_, std::io::Error>(()) });
    registry.register_service("a", &service).expect("the name is free");
    let app = raceproof::startup::Startup::new().start().await.expect("there is nothing to start");
    registry.register_startup("a", &app).expect("the name is free");
    let page = registry.prometheus_page();
    drop(worker);

    let guide = read("docs/rooms/observability.md");
    let (_, table) = guide.split_once("| what to watch |").expect("the table");
    let (table, _) = table.split_once("\n\n").expect("its end");
    let metrics =
        table.split(|c: char| !c.is_ascii_lowercase() && c != '_').filter(|word| word.starts_with("raceproof_"));
    let metrics: BTreeSet<_> = metrics.collect();
    assert!(metrics.len() > 10, "the table was read: {metrics:?}");
    for metric in metrics {
        assert!(page.contains(&format!("\n{metric}{{name=\"a\"")), "nothing has {metric}");
    }
}
