//! `docs/configuration.md` lists every key, as the code has it.

const HEADING: &str = "## Every key";

#[test]
fn the_reference_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let text = std::fs::read_to_string(path).expect("the reference");
    let at = text.find("<!-- Written by").expect("the mark behind which the tables are");
    assert!(text[..at].contains(HEADING), "the tables are the end of the reference");
    let end_of_mark = at + text[at..].find("-->\n").expect("the mark is a comment") + "-->\n".len();
    let wanted = format!("{}\n{}\n", &text[..end_of_mark], raceproof::config::reference().trim_end());
    if std::env::var_os("RACEPROOF_WRITE_DOCS").is_some() {
        std::fs::write(path, &wanted).expect("the reference is written");
    } else {
        assert!(
            text == wanted,
            "docs/configuration.md is out of date; write it with \
             RACEPROOF_WRITE_DOCS=1 cargo test -p raceproof --all-features --test configuration"
        );
    }
}
