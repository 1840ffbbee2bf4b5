from edgeweave.targets.cpu.operators import OPERATORS

# Of other domains than ONNX's own.
OTHER_DOMAINS = set(
    "AllClassNMS Attention BiasGelu EmbedLayerNormalization FastGelu MatMulInteger16 "
    "SkipLayerNormalization".split()
)
SIZE_DEPENDS_ON_THE_DATA = {"Compress", "NonZero", "Range", "Unique"}
ON_SEQUENCES_AND_OPTIONALS = set(
    "ConcatFromSequence Optional OptionalGetElement OptionalHasElement SequenceAt "
    "SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength "
    "SplitToSequence".split()
)
FOLDED_BY_THE_FRONT_END = {"Constant"}


def test_the_list_is_what_tvm_converts_less_what_a_static_stage_cannot_hold():
    from tvm.relax.frontend.onnx import onnx_frontend

    converted = set(onnx_frontend._get_convert_map())
    left_out = OTHER_DOMAINS | SIZE_DEPENDS_ON_THE_DATA
    left_out |= ON_SEQUENCES_AND_OPTIONALS | FOLDED_BY_THE_FRONT_END
    assert converted - left_out == OPERATORS
