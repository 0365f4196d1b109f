//! What dropping a future does: every public one of the libraries has a section `# Cancel safety` in its docs.
//!
//! Public futures are what `pub async fn` returns, whatever returns `impl Future`, `dyn Future` or a name for one, in
//! public traits too, and public types that can be awaited. Names are not resolved: a type that is a future anywhere
//! in a crate is one wherever its name stands. What a macro would make is not read, and is refused.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Expr, ImplItem, Item, Lit, Meta, Signature, TraitItem, Type, Visibility};

use crate::run::Run;

/// The crates that people build programs with.
const LIBRARIES: [&str; 3] = ["raceproof", "raceproof-core", "raceproof-server"];

const SECTION: &str = "# Cancel safety";

/// Reads the libraries, and fails with the names of those that do not say it.
pub(crate) fn check(run: &Run) -> Result<()> {
    let mut found = Found::default();
    for library in LIBRARIES {
        let src = Run::root().join("crates").join(library).join("src");
        found.add(look(&parsed(&src)?));
    }
    if !found.silent.is_empty() {
        bail!("without a section `{SECTION}` in their docs are:\n  {}", found.silent.join("\n  "));
    }
    run.step(&format!("{} public futures say what dropping them does", found.told));
    Ok(())
}

/// A file of a crate, and what is in it.
struct Source {
    path: PathBuf,
    items: Vec<Item>,
}

/// What was found of futures.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// How many have the section.
    told: usize,
    /// Those that do not.
    silent: Vec<String>,
}

impl Found {
    fn add(&mut self, other: Self) {
        self.told += other.told;
        self.silent.extend(other.silent);
    }

    fn future(&mut self, attributes: &[Attribute], place: &str, name: &str) {
        if is_hidden(attributes) {
            return;
        }
        if tells(attributes) {
            self.told += 1;
        } else {
            self.silent.push(format!("{place}: {name}"));
        }
    }
}

/// Every file below `src` but those of tests.
fn parsed(src: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut directories = vec![src.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).with_context(|| format!("{}", directory.display()))? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            if stem == Some("tests") {
                continue;
            }
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path)?;
                let file = syn::parse_file(&text).with_context(|| format!("{}", path.display()))?;
                sources.push(Source { path, items: file.items });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

/// The futures of one crate.
fn look(sources: &[Source]) -> Found {
    let mut names = Names::default();
    for source in sources {
        names.learn(&source.items);
    }
    let mut found = Found::default();
    for source in sources {
        let path = source.path.strip_prefix(Run::root()).unwrap_or(&source.path);
        names.judge(&source.items, &path.display().to_string(), &mut found);
    }
    found
}

/// What stands for a future in one crate.
#[derive(Default)]
struct Names {
    /// Types that can be awaited.
    types: BTreeSet<String>,
    /// Other names for `impl Future` and `dyn Future`.
    aliases: BTreeSet<String>,
}

impl Names {
    fn learn(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::Mod(module) if !is_test(&module.attrs) => {
                    self.learn(module.content.as_ref().map_or(&[], |(_, items)| items));
                }
                Item::Type(alias)
                    if is_known(&alias.vis) && mentions(alias.ty.to_token_stream(), &|word| word == "Future") =>
                {
                    self.aliases.insert(alias.ident.to_string());
                }
                Item::Impl(item) => {
                    let Some((of, _)) = &item.trait_ else { continue };
                    let of = of.segments.last().map(|segment| segment.ident.to_string());
                    if of.is_some_and(|of| of == "Future" || of == "IntoFuture") {
                        self.types.extend(name_of(&item.self_ty));
                    }
                }
                _ => {}
            }
        }
    }

    fn judge(&self, items: &[Item], place: &str, found: &mut Found) {
        for item in items {
            match item {
                Item::Mod(module) if !is_test(&module.attrs) => {
                    self.judge(module.content.as_ref().map_or(&[], |(_, items)| items), place, found);
                }
                Item::Fn(function) if is_public(&function.vis) && self.is_async(&function.sig) => {
                    found.future(&function.attrs, place, &function.sig.ident.to_string());
                }
                Item::Struct(item) if is_public(&item.vis) && self.types.contains(&item.ident.to_string()) => {
                    found.future(&item.attrs, place, &item.ident.to_string());
                }
                Item::Enum(item) if is_public(&item.vis) && self.types.contains(&item.ident.to_string()) => {
                    found.future(&item.attrs, place, &item.ident.to_string());
                }
                Item::Trait(item) if is_public(&item.vis) => {
                    for method in &item.items {
                        let TraitItem::Fn(method) = method else { continue };
                        if self.is_async(&method.sig) {
                            found.future(&method.attrs, place, &format!("{}::{}", item.ident, method.sig.ident));
                        }
                    }
                }
                Item::Impl(item) if item.trait_.is_none() => {
                    let of = name_of(&item.self_ty).unwrap_or_default();
                    for method in &item.items {
                        let ImplItem::Fn(method) = method else { continue };
                        if is_public(&method.vis) && self.is_async(&method.sig) {
                            found.future(&method.attrs, place, &format!("{of}::{}", method.sig.ident));
                        }
                    }
                }
                Item::Macro(item) if has_public_async(item.mac.tokens.clone()) => {
                    found.silent.push(format!("{place}: what a macro makes cannot be read"));
                }
                _ => {}
            }
        }
    }

    /// Whether what it returns is a future. A type of ours that is one says so itself.
    fn is_async(&self, signature: &Signature) -> bool {
        let is_name = |word: &str| word == "Future" || self.aliases.contains(word);
        signature.asyncness.is_some() || mentions(signature.output.to_token_stream(), &is_name)
    }
}

/// Whether one of these words stands anywhere in it.
fn mentions(tokens: TokenStream, is_wanted: &impl Fn(&str) -> bool) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) => mentions(group.stream(), is_wanted),
        TokenTree::Ident(word) => is_wanted(&word.to_string()),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

/// Whether `pub async fn` stands anywhere in it.
fn has_public_async(tokens: TokenStream) -> bool {
    let mut before = [String::new(), String::new()];
    tokens.into_iter().any(|token| {
        if let TokenTree::Group(group) = &token
            && has_public_async(group.stream())
        {
            return true;
        }
        let word = token.to_string();
        let found = before[0] == "pub" && before[1] == "async" && word == "fn";
        before.swap(0, 1);
        before[1] = word;
        found
    })
}

fn name_of(of: &Type) -> Option<String> {
    let Type::Path(path) = of else { return None };
    path.path.segments.last().map(|segment| segment.ident.to_string())
}

/// Visible to other crates: the lint `unreachable_pub` sees to it that what says `pub` is.
const fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Visible in the whole crate. What is not may be the name of something else elsewhere.
fn is_known(visibility: &Visibility) -> bool {
    match visibility {
        Visibility::Public(_) => true,
        Visibility::Restricted(to) => to.path.is_ident("crate"),
        Visibility::Inherited => false,
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && mentions(attribute.meta.to_token_stream(), &|word| word == "test")
    })
}

fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("doc") && mentions(attribute.meta.to_token_stream(), &|word| word == "hidden")
    })
}

/// Whether the section is there and not empty.
fn tells(attributes: &[Attribute]) -> bool {
    let lines: Vec<String> = attributes.iter().filter_map(doc_line).collect();
    let mut lines = lines.iter().flat_map(|text| text.lines()).map(str::trim);
    lines.any(|line| line == SECTION) && lines.find(|line| !line.is_empty()).is_some_and(|line| !line.starts_with("# "))
}

fn doc_line(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(doc) = &attribute.meta else { return None };
    let Expr::Lit(text) = &doc.value else { return None };
    match &text.lit {
        Lit::Str(text) if doc.path.is_ident("doc") => Some(text.value()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Found {
        let file = syn::parse_file(text).expect("Rust");
        look(&[Source { path: "a.rs".into(), items: file.items }])
    }

    fn silent(text: &str) -> Vec<String> {
        found(text).silent
    }

    #[test]
    fn every_public_future_of_the_libraries_says_what_dropping_it_does() {
        for library in LIBRARIES {
            let sources = parsed(&Run::root().join("crates").join(library).join("src")).expect("sources");
            assert!(!sources.is_empty());
            assert_eq!(look(&sources).silent, Vec::<String>::new(), "without a section `{SECTION}`");
        }
    }

    #[test]
    fn each_kind_of_public_future_is_found() {
        assert_eq!(silent("pub async fn f() {}"), ["a.rs: f"]);
        assert_eq!(silent("mod inner { impl A { pub async fn f() {} } }"), ["a.rs: A::f"]);
        assert_eq!(silent("impl<T> A<T> { pub fn f(&self) -> impl Future<Output = T> + Send {} }"), ["a.rs: A::f"]);
        assert_eq!(silent("pub fn f() -> Pin<Box<dyn std::future::Future<Output = ()>>> {}"), ["a.rs: f"]);
        assert_eq!(silent("pub fn f() -> Result<impl Future<Output = ()>, E> {}"), ["a.rs: f"]);
        assert_eq!(silent("pub(crate) type Boxed = Box<dyn Future<Output = ()>>; pub fn f() -> Boxed {}"), ["a.rs: f"]);
        assert_eq!(silent("pub trait A { async fn f(); }"), ["a.rs: A::f"]);
        assert_eq!(silent("pub trait A { fn f() -> impl Future<Output = ()>; }"), ["a.rs: A::f"]);
        assert_eq!(silent("pub struct A; impl Future for A {}"), ["a.rs: A"]);
        assert_eq!(silent("pub enum A {} impl<T> std::future::IntoFuture for A<T> {}"), ["a.rs: A"]);
        assert_eq!(silent("macro_rules! m { () => { impl A { pub async fn f() {} } } }").len(), 1);
    }

    #[test]
    fn a_section_has_to_say_something() {
        let with = |doc: &str| found(&format!("{doc}\npub async fn f() {{}}"));
        assert_eq!(with("/// F.\n///\n/// # Cancel safety\n/// Safe.").told, 1);
        assert_eq!(with("/** F.\n\n # Cancel safety\n Safe. */").told, 1);
        assert_eq!(with("/// F.\n///\n/// # Cancel safety").told, 0);
        assert_eq!(with("/// F.\n///\n/// # Cancel safety\n///\n/// # Panics\n/// Never.").told, 0);
        assert_eq!(with("/// F. Nothing about # Cancel safety").told, 0);
    }

    #[test]
    fn what_nobody_else_can_reach_is_passed_over() {
        let private = [
            "async fn f() {}",
            "pub(crate) async fn f() {}",
            "trait A { async fn f(); }",
            "struct A; impl Future for A {}",
            "#[cfg(test)] mod m { pub async fn f() {} }",
            "#[doc(hidden)] pub async fn f() {}",
            "pub fn f<F: Future>(future: F) -> usize {}",
            "impl Handler for A { async fn f() {} }",
        ];
        for text in private {
            assert_eq!(found(text), Found::default(), "{text}");
        }
    }
}
