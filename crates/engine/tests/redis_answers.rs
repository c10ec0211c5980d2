//! Whatever Redis answers, it is an answer or an error.

mod common;

use common::history::{Histories, Step};
use proptest::prelude::*;
use roomcast_core::store::{Cause, Request, StoreError, StoreId};
use roomcast_engine::model::Model;
use roomcast_engine::redis::{Commands, ScriptCommands, Value};

/// Strings that are nearly what scripts return.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        "[01]{2}[0-9a-f]{145}[0-9a-f -]{0,120}".prop_map(String::into_bytes),
        "1[0-9]{16}[0-9a-f]{48,90}\u{e9}?".prop_map(String::into_bytes),
        "[0-9]{1,25}(-0)?".prop_map(String::into_bytes),
        "[hmsx][0-9a-z]{0,21}".prop_map(String::into_bytes),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        (-1..5_i64).prop_map(Value::Int),
        bytes().prop_map(Value::Bytes),
        bytes().prop_map(|it| Value::Error(String::from_utf8_lossy(&it).into())),
    ];
    leaf.prop_recursive(3, 40, 6, |it| {
        prop::collection::vec(it, 0..6).prop_map(Value::Array)
    })
}

fn request(choice: [u8; 8]) -> Option<Request> {
    match Histories::default().step(&Model::new(StoreId(1)), 1_000, choice) {
        Step::Ask(request) | Step::AskAndEnd(request) => Some(request),
        Step::Dump | Step::Restart(_) | Step::Full(_) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, ..ProptestConfig::default() })]

    #[test]
    fn odd_values_are_errors_or_answers(choice in any::<[u8; 8]>(), value in value()) {
        if let Some(request) = request(choice) {
            let answer = ScriptCommands::new("p").answer(&request, value);
            prop_assert!(matches!(answer, Ok(_) | Err(StoreError::Never(Cause::Protocol))));
        }
    }
}
