//! The panel: who gets which seed, and what a request is worth that does not tell.

use std::sync::Mutex;

use ostler_abi::Setup;
use ostler_core::{Access, PolicyFault, PolicyInstance, Wants};

use super::*;

/// Notes the seeds that its instances were to have; it makes none.
#[derive(Default)]
struct Seeds(Mutex<Vec<u64>>);

impl InstanceSource for Seeds {
    fn label(&self) -> &'static str {
        "seeds"
    }
    fn params(&self) -> &'static str {
        "{}"
    }
    fn code_id(&self) -> String {
        "seeds".to_owned()
    }
    fn wants(&self) -> Wants {
        Wants::NONE
    }
    fn instance(&self, setup: Setup) -> Result<Box<dyn PolicyInstance>, PolicyFault> {
        self.0.lock().unwrap().push(setup.seed);
        Err(PolicyFault::Refused { code: 1 })
    }
}

fn panel(objective: Objective) -> (Panel, Arc<Seeds>) {
    let seeds = Arc::new(Seeds::default());
    let portfolio = (0..3).map(|_| Arc::clone(&seeds) as Arc<dyn InstanceSource>).collect();
    let config = PanelConfig { capacity: 1_000, objective, seed: 7 };
    (Panel::try_new(portfolio, &config).unwrap(), seeds)
}

/// Else the same policy twice would be the same numbers twice, and no check of anything.
#[test]
fn every_shadow_has_a_seed_of_its_own_and_keeps_it() {
    let (mut panel, seeds) = panel(Objective::Object);
    let first = std::mem::take(&mut *seeds.0.lock().unwrap());
    assert!(first.len() == 3 && first[0] != first[1] && first[1] != first[2]);
    panel.refill(500, &[]);
    assert_eq!(std::mem::take(&mut *seeds.0.lock().unwrap()), first);
    panel.restart(1, &[]);
    assert_eq!(*seeds.0.lock().unwrap(), first[1..2]);
}

#[test]
fn a_get_without_an_answer_is_worth_what_its_key_or_others_are() {
    let request = |hash, weight| Sampled { hash, weight, access: Access::default() };
    for (objective, expected) in [(Objective::Object, 3.0), (Objective::Byte, 400.0 + 300.0)] {
        let (mut panel, _) = panel(objective);
        // The fallback serves, so that everything stays.
        panel.request(&request(1, 300), false);
        panel.request(&request(2, 100), false);
        let _ = panel.take();
        panel.get(&request(1, 1), false);
        panel.get(&request(3, 1), false);
        panel.request(&request(4, 200), false);
        let window = panel.take();
        assert_eq!(window.worth_mean() * window.requests(), expected, "{objective}");
    }
}

#[test]
fn what_was_left_out_is_counted_with_its_weight() {
    let (mut panel, _) = panel(Objective::Byte);
    let request = |weight| Sampled { hash: 1, weight, access: Access::default() };
    panel.request(&request(900), false);
    panel.request(&request(2_100), false);
    panel.get(&request(1), false);
    let heard = Heard { requests: 3, oversize: 1, weight: 3_000, oversize_weight: 2_100 };
    assert_eq!(panel.heard(), heard);
    assert_eq!(panel.hold(1.0), None, "until the window ends");
    let _ = panel.take();
    assert!(panel.hold(1.0).is_some_and(|reason| reason.contains("5 %")));
    assert!(panel.hold(0.5).is_some_and(|reason| reason.contains("too few")));
    (0..30).for_each(|_| panel.request(&request(900), false));
    let _ = panel.take();
    assert_eq!(panel.hold(1.0), None, "3 % of the requests, 7 % of the weight");
    panel.request(&request(2_000_000), false);
    let _ = panel.take();
    assert!(panel.hold(1.0).is_some_and(|reason| reason.contains("5 %")));
    (0..300).for_each(|_| panel.request(&request(900), false));
    let _ = panel.take();
    assert!(panel.hold(1.0).is_some_and(|reason| reason.contains("20 %")));
}
