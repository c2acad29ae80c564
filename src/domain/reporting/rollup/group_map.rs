//! The sums of a row's groups.

use super::metrics::GroupSums;
use crate::domain::values::ids::GroupId;

/// Sums in the order of the groups' IDs. A list, since a row has few groups, and a report or a step of folding has many
/// rows: a tree reserves 1.4 kB for each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupMap(Vec<(GroupId, GroupSums)>);

impl GroupMap {
    /// The place of a group's sums, or where they belong.
    fn find(&self, group: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.as_str().cmp(group))
    }

    pub fn get(&self, group: &GroupId) -> Option<&GroupSums> {
        self.find(group.as_str()).ok().map(|place| &self.0[place].1)
    }

    /// The sums of a group, which begin at 0.
    pub fn of(&mut self, group: &GroupId) -> &mut GroupSums {
        let place = self.find(group.as_str()).unwrap_or_else(|place| self.insert(place, group.clone()));
        &mut self.0[place].1
    }

    /// The same for a name; None if no group may have it.
    pub fn named(&mut self, name: &str) -> Option<&mut GroupSums> {
        let place = match self.find(name) {
            Ok(place) => place,
            Err(place) => self.insert(place, GroupId::parse(name).ok()?),
        };
        Some(&mut self.0[place].1)
    }

    pub fn add(&mut self, other: &Self) {
        for (place, (group, sums)) in other.0.iter().enumerate() {
            match self.0.get_mut(place) {
                // Nearly all rows of an event have the same groups.
                Some((known, sum)) if known == group => sum.add(sums),
                _ => self.of(group).add(sums),
            }
        }
    }

    fn insert(&mut self, place: usize, group: GroupId) -> usize {
        self.0.insert(place, (group, GroupSums::default()));
        place
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&GroupId, &GroupSums)> {
        self.0.iter().map(|(group, sums)| (group, sums))
    }

    pub fn ids(&self) -> impl Iterator<Item = &GroupId> {
        self.0.iter().map(|(group, _)| group)
    }

    /// Removes groups whose sums are all 0.
    pub fn remove_zeros(&mut self) {
        self.0.retain(|(_, sums)| *sums != GroupSums::default());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map_in_the_order_of_the_ids(charges in prop::collection::vec(("[a-c]{1,2}", -2..3_i128), 0..30)) {
            let (mut groups, mut expected) = (GroupMap::default(), BTreeMap::<String, i128>::new());
            for (place, (name, charged)) in charges.into_iter().enumerate() {
                let group = GroupId::parse(&name).unwrap();
                let sums = if place % 2 == 0 { groups.of(&group) } else { groups.named(&name).unwrap() };
                sums.charged += charged;
                *expected.entry(name).or_default() += charged;
                prop_assert_eq!(groups.get(&group).map(|sums| sums.charged), expected.get(group.as_str()).copied());
            }
            let sums = |groups: &GroupMap| -> Vec<_> {
                groups.iter().map(|(group, sums)| (group.as_str().to_owned(), sums.charged)).collect()
            };
            prop_assert_eq!(sums(&groups), expected.clone().into_iter().collect::<Vec<_>>());
            prop_assert!(groups.ids().map(GroupId::as_str).eq(expected.keys()));
            groups.remove_zeros();
            expected.retain(|_, charged| *charged != 0);
            prop_assert_eq!(groups.is_empty(), expected.is_empty());
            prop_assert_eq!(sums(&groups), expected.into_iter().collect::<Vec<_>>());
        }
    }

    proptest! {
        #[test]
        fn rows_with_other_groups_are_added_up(rows in prop::array::uniform2(prop::collection::btree_map("[a-d]", -2..3_i128, 0..4))) {
            let (mut expected, mut sums) = (BTreeMap::<String, i128>::new(), GroupMap::default());
            for row in rows {
                let mut groups = GroupMap::default();
                for (name, charged) in row {
                    groups.named(&name).unwrap().charged = charged;
                    *expected.entry(name).or_default() += charged;
                }
                sums.add(&groups);
            }
            let sums: Vec<_> = sums.iter().map(|(group, sums)| (group.as_str().to_owned(), sums.charged)).collect();
            prop_assert_eq!(sums, expected.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn no_group_has_a_name_that_is_no_id() {
        let mut groups = GroupMap::default();
        assert!(groups.named("a b").is_none());
        assert!(groups.is_empty());
    }
}
