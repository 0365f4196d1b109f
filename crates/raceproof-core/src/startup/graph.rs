//! Who depends on whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{PlanError, Spec};

/// The dependencies and the dependents of each service, by their places in the list.
#[derive(Debug, Default)]
pub(super) struct Links {
    pub(super) after: Vec<usize>,
    pub(super) before: Vec<usize>,
}

/// Resolves names and refuses what cannot be started.
pub(super) fn links(specs: &[Spec]) -> Result<Vec<Links>, PlanError> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (place, spec) in specs.iter().enumerate() {
        if places.insert(&spec.name, place).is_some() {
            return Err(PlanError::Duplicate { name: Arc::clone(&spec.name) });
        }
    }
    let mut links: Vec<Links> = specs.iter().map(|_| Links::default()).collect();
    for (place, spec) in specs.iter().enumerate() {
        for dependency in &spec.after {
            let Some(&on) = places.get(&**dependency) else {
                let (name, dependency) = (Arc::clone(&spec.name), Arc::clone(dependency));
                return Err(PlanError::Unknown { name, dependency });
            };
            push(&mut links, place, on);
        }
    }
    match cycle(&links) {
        None => Ok(links),
        Some(circle) => {
            let names = circle.iter().filter_map(|place| specs.get(*place)).map(|spec| Arc::clone(&spec.name));
            Err(PlanError::Cycle { names: names.collect() })
        }
    }
}

fn push(links: &mut [Links], place: usize, on: usize) {
    if let Some(link) = links.get_mut(place)
        && !link.after.contains(&on)
    {
        link.after.push(on);
        if let Some(link) = links.get_mut(on) {
            link.before.push(place);
        }
    }
}

/// A circle, if there is one: whatever cannot be taken away from the end of the order depends on one.
fn cycle(links: &[Links]) -> Option<Vec<usize>> {
    let mut missing: Vec<usize> = links.iter().map(|link| link.after.len()).collect();
    let mut free: Vec<usize> = (0..links.len()).filter(|place| missing.get(*place) == Some(&0)).collect();
    while let Some(place) = free.pop() {
        for before in links.get(place).into_iter().flat_map(|link| &link.before) {
            if let Some(count) = missing.get_mut(*before) {
                *count -= 1;
                if *count == 0 {
                    free.push(*before);
                }
            }
        }
    }
    let stuck = |place: &usize| missing.get(*place).is_some_and(|count| *count > 0);
    // Everything that is left depends on something that is left: following that comes back sooner or later.
    let mut path = vec![(0..links.len()).find(stuck)?];
    loop {
        let next = *links.get(*path.last()?)?.after.iter().find(|on| stuck(on))?;
        if let Some(begin) = path.iter().position(|seen| *seen == next) {
            return Some(path.split_off(begin));
        }
        path.push(next);
    }
}
