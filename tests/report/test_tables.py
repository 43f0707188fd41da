from qinit.report import tables
from qinit.report.document import to_csv, to_markdown

HEADER = (
  "Network Architecture,FP32 Accuracy,QUINT8 Accuracy,QMSE,QCE,"
  "Percent Accuracy Decrease,Bits,Seeds,FP32 SD,QUINT8 SD,LiteRT Accuracy,"
  "Equal Codes (%),Fake-quant Equal (%),Reference Equal (%),Minutes,Status\n"
)


def _rows(make):
  return [
    make.trained(
      "dws_conv_bn",
      "he_uniform",
      70.0,
      63.0,
      0,
      0.5,
      1.0,
      litert_accuracy=63.0,
      litert_equal_codes=99.975,
      fake_quant_equal_codes=98.0,
      litert_ref_equal_codes=90.0,
      minutes=4.0,
    ),
    make.trained(
      "dws_conv_bn",
      "he_uniform",
      72.0,
      66.6,
      1,
      0.7,
      1.2,
      litert_accuracy=66.6,
      litert_equal_codes=99.985,
      fake_quant_equal_codes=99.0,
      litert_ref_equal_codes=90.0,
      minutes=5.0,
    ),
    make.row(
      "dws_conv_no_bn",
      "glorot_uniform",
      status="diverged",
      epochs=10,
      minutes=1.25,
    ),
  ]


def test_the_papers_columns_come_first(make):
  assert to_csv(tables.study_table(_rows(make))) == HEADER + (
    "DWS_Conv_With_BN_HeUni,71.00,64.80,0.6000,1.1000,8.75,w8a8,2,1.41,2.55,"
    "64.80,99.980,98.5,90.0,4.5,ok\n"
    "DWS_Conv_No_BN_GlorotUni,,,,,,w8a8,1,,,,,,,1.2,diverged\n"
  )


def test_what_is_missing_is_a_dash_in_markdown(make):
  text = to_markdown([tables.study_table(_rows(make)[2:])])
  assert text.splitlines()[-1] == (
    "| *DWS_Conv_No_BN_GlorotUni* | *–* | *–* | *–* | *–* | *–* | *w8a8*"
    " | *1* | *–* | *–* | *–* | *–* | *–* | *–* | *1.2* | *diverged* |"
  )


def test_diverged_rows_are_flagged_not_dropped(make):
  assert tables.study_table(_rows(make)).flagged == {1}


def test_no_rows_make_an_empty_table():
  assert to_csv(tables.study_table([])) == HEADER


def test_summary_names_the_best_and_the_worst(make):
  rows = [
    make.trained("dws_conv_bn", "he_uniform", 80.0, 60.0),
    make.trained("dws_conv_bn", "he_normal", 75.0, 75.0),
    make.trained("dws_conv_bn", "glorot_uniform", 70.0, 63.0),
    make.row("dws_conv_bn", "lsuv", status="diverged"),
    make.trained("dws_conv_bn", "lsuv", 99.0, 98.0),
    make.row("dws_conv_bn", "orthogonal", status="diverged"),
  ]
  rows[4].cell["bits"] = "w4a4"
  assert tables.summary_table(rows).rows == (
    (
      "DWS_Conv_With_BN",
      "HeUni (80.00)",
      "HeNorm (75.00)",
      "HeUni (25.00)",
      "75.00",
      "66.00",
      "10.00",
      "3",
      "2",
    ),
  )


def test_summary_of_an_architecture_that_never_trained(make):
  rows = [make.row("dws_conv_bn", "lsuv", status="diverged")]
  assert tables.summary_table(rows).rows == (
    ("DWS_Conv_With_BN", *["–"] * 6, "0", "1"),
  )


def test_weakest_layers(make):
  rows = [
    make.layer(0, "a", "weight", kl=0.01),
    make.layer(1, "b", "weight", kl=0.25, loss=1.5),
    make.layer(0, "a", "activation", kl=0.5, loss=-0.25),
  ]
  runs = {"dws_conv_bn": {"he_uniform": rows, "lsuv": []}}
  assert tables.weakest_layer_table(runs).rows == (
    ("DWS_Conv_With_BN_HeUni", "b", "a", "0.2500", "0.5000", "1.50", "-0.25"),
    ("DWS_Conv_With_BN_LSUV", *["–"] * 6),
  )
