"""The one table of built-in components: kind, name, where the class lives (imported on use)."""

from __future__ import annotations

BUILTINS: dict[str, dict[str, str]] = {
    "source": {
        "ml-100k": "llmrec.data.movielens:MovieLens100K",
        "movielens": "llmrec.data.grouplens:MovieLens",
        "synthetic": "llmrec.data.synthetic:Synthetic",
        "csv": "llmrec.data.delimited:DelimitedFiles",
        "jsonl": "llmrec.data.typed:JSONLines",
        "parquet": "llmrec.data.typed:Parquet",
        "sequences": "llmrec.data.sequences:Sequences",
        "recbole": "llmrec.data.recbole:RecBole",
    },
    "split": {
        "leave_one_out": "llmrec.data.splits:LeaveOneOut",
        "global_temporal": "llmrec.data.splits:GlobalTemporal",
        "random_k_fold": "llmrec.data.splits:RandomKFold",
    },
    "recommender": {
        "random": "llmrec.recommenders.simple:Random",
        "popularity": "llmrec.recommenders.simple:Popularity",
        "bias": "llmrec.recommenders.simple:Bias",
        "markov_knn": "llmrec.recommenders.markov_knn:MarkovKNN",
        "item_knn": "llmrec.recommenders.knn:ItemKNN",
        "user_knn": "llmrec.recommenders.knn:UserKNN",
        "ease": "llmrec.recommenders.ease:EASE",
        "implicit_als": "llmrec.recommenders.implicit_als:ImplicitALS",
        "biased_mf": "llmrec.recommenders.biased_mf:BiasedMF",
        "language_model": "llmrec.recommenders.language_model:LanguageModel",
        "ensemble": "llmrec.ensembles.ensemble:Ensemble",
    },
    "backbone": {
        "gpt2": "llmrec.backbones.gpt2:GPT2",
        "bert": "llmrec.backbones.bert:BERT",
        "minilm": "llmrec.backbones.bert:MiniLM",
        "t5": "llmrec.backbones.t5:T5",
    },
    "adapter": {
        "full": "llmrec.adapters.full:Full",
        "frozen": "llmrec.adapters.frozen:Frozen",
        "lora": "llmrec.adapters.lora:LoRA",
        "int8": "llmrec.adapters.quantized:Int8",
        "chain": "llmrec.adapters.chain:Chain",
    },
    "head": {
        "classification": "llmrec.heads.classification:Classification",
        "regression": "llmrec.heads.regression:Regression",
        "generative": "llmrec.heads.generative:Generative",
    },
    "prompt": {
        "items": "llmrec.prompts.items:Items",
        "text": "llmrec.prompts.text:Text",
    },
    "combiner": {
        "mean": "llmrec.ensembles.combiners:Mean",
        "weighted": "llmrec.ensembles.combiners:Weighted",
    },
    "metric": {
        "hr": "llmrec.metrics.ranking:HitRate",
        "ndcg": "llmrec.metrics.ranking:NDCG",
        "mrr": "llmrec.metrics.ranking:MRR",
        "recall": "llmrec.metrics.ranking:Recall",
        "precision": "llmrec.metrics.ranking:Precision",
        "map": "llmrec.metrics.ranking:MAP",
        "coverage": "llmrec.metrics.catalogue:Coverage",
        "rmse": "llmrec.metrics.rating:RMSE",
        "mae": "llmrec.metrics.rating:MAE",
        "accuracy": "llmrec.metrics.preference:Accuracy",
        "binary_precision": "llmrec.metrics.preference:BinaryPrecision",
        "binary_recall": "llmrec.metrics.preference:BinaryRecall",
        "f1": "llmrec.metrics.preference:F1",
        "roc_auc": "llmrec.metrics.preference:ROCAUC",
        "log_loss": "llmrec.metrics.preference:LogLoss",
    },
    "tracker": {
        "none": "llmrec.experiment.tracking:NoTracker",
        "wandb": "llmrec.experiment.tracking:WandbTracker",
    },
}
