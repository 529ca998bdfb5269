"""Classical models: scikit-learn's through skl2onnx, and ensembles of trees as other tools write them, in onnxruntime."""

import unittest

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save
from support import BAR, compare, each, figure, folder, graft, relative, session


def patch_converter():
    # skl2onnx 1.20 gives onnx 1.23 numpy's integers, which it refuses.
    from skl2onnx.common._container import ModelComponentContainer as Container

    if hasattr(Container, "plain_add_node"):
        return
    Container.plain_add_node = Container.add_node

    def plain(value):
        if isinstance(value, list):
            return [plain(v) for v in value]
        if isinstance(value, (np.integer, np.bool_, bool)):
            return int(value)
        return float(value) if isinstance(value, np.floating) else value

    def add_node(self, *arguments, **attributes):
        return Container.plain_add_node(self, *arguments, **{k: plain(v) for k, v in attributes.items()})

    Container.add_node = add_node


def classes(count):
    from sklearn.datasets import make_classification

    x, y = make_classification(240, 8, n_informative=6, n_classes=count, random_state=count)
    return x.astype(np.float32), y


def sklearn_models():
    from sklearn import ensemble, linear_model, naive_bayes, neighbors, neural_network, pipeline, preprocessing, svm, tree
    from sklearn.decomposition import PCA
    from sklearn.impute import SimpleImputer

    few = dict(n_estimators=8, max_depth=4, random_state=0)
    scaled = lambda *steps: pipeline.make_pipeline(preprocessing.StandardScaler(), *steps)  # noqa: E731
    classifiers = {
        "tree": tree.DecisionTreeClassifier(max_depth=5, random_state=0),
        "forest": ensemble.RandomForestClassifier(**few),
        "extra_trees": ensemble.ExtraTreesClassifier(**few),
        "boosting": ensemble.GradientBoostingClassifier(**few),
        "histogram_boosting": ensemble.HistGradientBoostingClassifier(max_iter=8, max_depth=4, random_state=0),
        "ada_boost": ensemble.AdaBoostClassifier(n_estimators=4, random_state=0),
        "bagging": ensemble.BaggingClassifier(tree.DecisionTreeClassifier(max_depth=3), 4, random_state=0),
        "logistic": linear_model.LogisticRegression(),
        "ridge": linear_model.RidgeClassifier(),
        "descent": linear_model.SGDClassifier(loss="log_loss", random_state=0),
        "svc_rbf": svm.SVC(),
        "svc_poly": svm.SVC(kernel="poly", degree=2, coef0=0.5),
        "svc_sigmoid": svm.SVC(kernel="sigmoid"),
        "svc_probability": svm.SVC(probability=True, random_state=0),
        "nu_svc": svm.NuSVC(nu=0.3),
        "linear_svc": svm.LinearSVC(),
        "neighbours": neighbors.KNeighborsClassifier(5),
        "bayes": naive_bayes.GaussianNB(),
        "perceptrons": neural_network.MLPClassifier((12, 6), max_iter=40, random_state=0),
        "scaled_logistic": scaled(linear_model.LogisticRegression()),
        "scaled_svc": scaled(svm.SVC()),
        "normalized": pipeline.make_pipeline(preprocessing.Normalizer("l1"), tree.DecisionTreeClassifier(max_depth=4)),
        "binarized": pipeline.make_pipeline(preprocessing.Binarizer(threshold=0.2), linear_model.LogisticRegression()),
        "imputed": pipeline.make_pipeline(SimpleImputer(), PCA(4), linear_model.LogisticRegression()),
    }
    regressors = {
        "tree": tree.DecisionTreeRegressor(max_depth=5, random_state=0),
        "forest": ensemble.RandomForestRegressor(**few),
        "boosting": ensemble.GradientBoostingRegressor(**few),
        "histogram_boosting": ensemble.HistGradientBoostingRegressor(max_iter=8, max_depth=4, random_state=0),
        "linear": linear_model.LinearRegression(),
        "svr": svm.SVR(),
        "svr_linear": svm.SVR(kernel="linear"),
        "one_class": svm.OneClassSVM(),
        "neighbours": neighbors.KNeighborsRegressor(4),
        "scaled_lasso": scaled(preprocessing.PolynomialFeatures(2), linear_model.Lasso(0.01)),
    }
    return classifiers, regressors


CLASSIFIERS = """
tree forest extra_trees boosting histogram_boosting ada_boost bagging logistic ridge descent svc_rbf svc_poly svc_sigmoid
svc_probability nu_svc linear_svc neighbours bayes perceptrons scaled_logistic scaled_svc normalized binarized imputed
""".split()
REGRESSORS = "tree forest boosting histogram_boosting linear svr svr_linear one_class neighbours scaled_lasso".split()
CASES = [(name, 2) for name in CLASSIFIERS] + [(name, 3) for name in CLASSIFIERS] + [(name, 0) for name in REGRESSORS]


def both(test, model, given, title, name):
    """Runs a model in onnxruntime and Graft and compares the outputs; whole numbers must be the same."""
    with folder() as place:
        path = place / "model.onnx"
        save(model, str(path))
        opened = session(path)
        inputs = [entry.name for entry in opened.get_inputs()]
        outputs = [entry.name for entry in opened.get_outputs()]
        expected = dict(zip(outputs, opened.run(outputs, dict(zip(inputs, given)))))
        np.savez(place / "in.npz", **dict(zip(inputs, given)))
        graft("run", path, "--inputs", place / "in.npz", "--outputs", place / "out.npz")
        actual = dict(np.load(place / "out.npz"))
    for key, value in expected.items():
        if np.issubdtype(value.dtype, np.integer):
            np.testing.assert_array_equal(actual[key], value, f"{name}: {key}")
        else:
            gap = relative(actual[key], value)
            figure(title, gap, f"{name}: {key}")
            test.assertLessEqual(gap, BAR, f"{name}: {key}")
    return expected


@each("model", CASES, name=lambda case: f"{case[0]}_{('regressor', '', 'two_classes', 'three_classes')[case[1]]}")
class ScikitLearn(unittest.TestCase):
    def check_model(self, case):
        from skl2onnx import to_onnx

        patch_converter()
        name, count = case
        x, y = classes(count or 3)
        model = sklearn_models()[0 if count else 1][name]
        if not count:
            y = (x[:, 0] * 2 + np.sin(x[:, 1]) + x[:, 2] * x[:, 3]).astype(np.float32)
        model.fit(x, y)
        with np.errstate(all="ignore"):
            try:
                exported = to_onnx(model, x[:1], options={"zipmap": False} if count else None, target_opset=21)
            except NameError:
                # A model without probabilities has no map to leave out.
                exported = to_onnx(model, x[:1], target_opset=21)
        both(self, exported, [x], "classical, scikit-learn", name)


# Ensembles as XGBoost's and LightGBM's converters, and TreeEnsemble's own form, write them.
MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]


def grow(random, trees, depth, features, modes, vote):
    """Random trees in the form of the older operators; `vote(add)` is called for each leaf."""
    nodes = {key: [] for key in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids",
                                 "missing_value_tracks_true")}  # fmt: skip
    votes = []
    for tree in range(trees):
        count = 0

        def add(level):
            nonlocal count
            number, count = count, count + 1
            place = len(nodes["treeids"])
            for key in nodes:
                nodes[key].append(0)
            is_leaf = level == depth or (level > 1 and random.random() < 0.2)
            nodes["treeids"][place], nodes["nodeids"][place] = tree, number
            nodes["modes"][place] = "LEAF" if is_leaf else str(random.choice(modes))
            nodes["values"][place] = float(random.integers(-4, 5)) / 2
            if is_leaf:
                votes.extend((tree, number, target, weight) for target, weight in vote())
            else:
                nodes["featureids"][place] = int(random.integers(0, features))
                nodes["missing_value_tracks_true"][place] = int(random.integers(0, 2))
                nodes["truenodeids"][place] = add(level + 1)
                nodes["falsenodeids"][place] = add(level + 1)
            return number

        add(0)
    return {f"nodes_{key}": values for key, values in nodes.items()}, votes


def tree_model(op, attributes, kind=TensorProto.FLOAT, outputs=(), version=3):
    node = helper.make_node(op, ["x"], [name for name, _ in outputs], domain="ai.onnx.ml", **attributes)
    graph = helper.make_graph(
        [node], "trees", [helper.make_tensor_value_info("x", kind, [None, 6])],
        [helper.make_tensor_value_info(name, type, None) for name, type in outputs])  # fmt: skip
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", version)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def rows(random, kind=np.float32, count=333):
    x = (random.integers(-5, 6, (count, 6)) / 2).astype(kind)
    x[random.random(x.shape) < 0.05] = np.nan
    return x


def classifier(random, post, positive, base, targets):
    def vote():
        weights = random.random(3) if positive else random.normal(0, 1, 3)
        # Two classes: one score, as the converters write it.
        return [(0, weights[0] / 5)] if targets == 2 else [(c, weights[c]) for c in random.permutation(3)[:2]]

    nodes, votes = grow(random, 7, 5, 6, MODES, vote)
    trees, numbers, ids, weights = (list(column) for column in zip(*votes))
    attributes = dict(
        nodes, class_treeids=trees, class_nodeids=numbers, class_ids=[int(i) for i in ids], post_transform=post,
        class_weights=[float(w) for w in weights], classlabels_int64s=[5, 3, 9][:targets])  # fmt: skip
    if base:
        attributes["base_values"] = [0.25] if targets == 2 else [0.1, -0.2, 0.3]
    return attributes


POST = ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"]
VOTING = [(post, p, b, t) for post in POST for p in (True, False) for b in (True, False) for t in (2, 3)]


@each("votes", VOTING, name=lambda c: f"{c[0]}_{'positive' if c[1] else 'signed'}_{'base' if c[2] else 'plain'}_{c[3]}")
@each("sums", [(a, k) for a in ("SUM", "AVERAGE", "MIN", "MAX") for k in ("float", "double")], name="_".join)
class Trees(unittest.TestCase):
    def check_votes(self, case):
        random = np.random.default_rng(VOTING.index(case))
        model = tree_model(
            "TreeEnsembleClassifier", classifier(random, *case),
            outputs=[("label", TensorProto.INT64), ("scores", TensorProto.FLOAT)])  # fmt: skip
        both(self, model, [rows(random)], "classical, trees", case)

    def check_sums(self, case):
        aggregate, kind = case
        random = np.random.default_rng(3)
        nodes, votes = grow(random, 6, 5, 6, MODES, lambda: [(int(t), random.normal()) for t in range(2)])
        trees, numbers, ids, weights = (list(column) for column in zip(*votes))
        attributes = dict(
            nodes, target_treeids=trees, target_nodeids=numbers, target_ids=ids, n_targets=2, aggregate_function=aggregate)
        lists = dict(nodes_values=attributes.pop("nodes_values"), target_weights=weights, base_values=[0.5, -1.0])
        for name, values in lists.items():
            if kind == "double":
                attributes[f"{name}_as_tensor"] = numpy_helper.from_array(np.array(values, np.float64), name)
            else:
                attributes[name] = [float(v) for v in values]
        onnx_kind, numpy_kind = (TensorProto.DOUBLE, np.float64) if kind == "double" else (TensorProto.FLOAT, np.float32)
        model = tree_model("TreeEnsembleRegressor", attributes, onnx_kind, [("y", TensorProto.FLOAT)])
        both(self, model, [rows(random, numpy_kind)], "classical, trees", aggregate)

    def test_counted_trees(self):
        for kind, onnx_kind in ((np.float32, TensorProto.FLOAT), (np.float64, TensorProto.DOUBLE)):
            random = np.random.default_rng(5)
            attributes = dict(
                n_targets=2, aggregate_function=1, post_transform=0, tree_roots=[0, 2],
                nodes_modes=numpy_helper.from_array(np.array([0, 4, 6, 3], np.uint8)), nodes_featureids=[0, 3, 2, 5],
                nodes_splits=numpy_helper.from_array(np.array([0.5, 1, 0, -0.5], kind)),
                membership_values=numpy_helper.from_array(np.array([1, 2, 0, np.nan], kind)),
                nodes_truenodeids=[1, 0, 3, 3], nodes_trueleafs=[0, 1, 0, 1], nodes_falsenodeids=[2, 1, 2, 4],
                nodes_falseleafs=[1, 1, 1, 1], leaf_targetids=[0, 1, 0, 1, 0],
                leaf_weights=numpy_helper.from_array(np.array([0.5, -1, 2, 0.25, 7], kind)))  # fmt: skip
            model = tree_model("TreeEnsemble", attributes, onnx_kind, [("y", onnx_kind)], version=5)
            both(self, model, [rows(random, kind)], "classical, trees", "TreeEnsemble")

    def test_broken_trees_are_refused_before_they_run(self):
        random = np.random.default_rng(1)
        good = classifier(random, "NONE", True, False, 3)
        inner = good["nodes_modes"].index("LEAF") - 1
        changes = {
            "comes back": dict(nodes_truenodeids={inner: 0}),
            "no node": dict(nodes_falsenodeids={0: 99999}),
            "the feature -1": dict(nodes_featureids={0: -1}),
            "the target 7": dict(class_ids={0: 7}),
            "two nodes": dict(nodes_nodeids={1: 0}),
            "mode": dict(nodes_modes={0: "BRANCH_MAYBE"}),
        }
        for message, change in changes.items():
            broken = {key: list(value) if isinstance(value, list) else value for key, value in good.items()}
            for key, places in change.items():
                for place, value in places.items():
                    broken[key][place] = value
            outputs = [("label", TensorProto.INT64), ("scores", TensorProto.FLOAT)]
            with self.subTest(message), folder() as place:
                save(tree_model("TreeEnsembleClassifier", broken, outputs=outputs), str(place / "m.onnx"))
                done = graft("run", place / "m.onnx", "--random", 0, exit_status=65)
                self.assertIn(message, done.stderr)


class Linear(unittest.TestCase):
    def test_one_score_of_two_classes(self):
        random = np.random.default_rng(2)
        x = random.normal(0, 1, (50, 4)).astype(np.float32)
        for post in POST:
            node = helper.make_node(
                "LinearClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml", coefficients=[0.5, -1.0, 2.0, 0.1],
                intercepts=[0.2], classlabels_ints=[4, 7], post_transform=post)  # fmt: skip
            graph = helper.make_graph(
                [node], "linear", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
                [helper.make_tensor_value_info("label", TensorProto.INT64, None),
                 helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)])  # fmt: skip
            opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
            with self.subTest(post):
                both(self, helper.make_model(graph, opset_imports=opsets, ir_version=10), [x], "classical, linear", post)


if __name__ == "__main__":
    unittest.main()
