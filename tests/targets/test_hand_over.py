from edgeweave.targets.hand_over import handover_seconds


def test_a_hand_over_takes_more_than_a_microsecond_and_less_than_a_tenth_of_a_second():
    assert 1e-6 < handover_seconds() < 0.1
