"""The commented configuration that `idbounds init` writes."""

from __future__ import annotations

EXAMPLE = """\
# A run of idbounds: measure d90, write a message, certify it.   idbounds run THIS-FILE
# Paths are relative to this file.

output = "runs/my-task"            # everything is written here; a second run resumes
# store = "runs/trials"            # where trials are kept instead; runs with one store share what they have in common

[model]
source = "path/to/model"           # a folder with config.json and weights, or a Hugging Face name
# revision = "main"                # of a Hugging Face model
max_length = 64                    # tokens; longer texts are cut
head = "mean_pooling"              # on an encoder's token states; "architecture": the head that transformers has for the model
dtype = "float32"                  # of the frozen weights; "bfloat16" and "float16" halve them
head_seed = 0                      # the new classification head is drawn from this seed

[data]
train = "train.tsv"                # csv, tsv, jsonl or parquet; also .csv.gz and so on
# validation = "dev.tsv"           # learning rates are chosen here; without it, a part of train
# test = "test.tsv"                # accuracies are reported here; without it, a part of train
# dataset = "glue"                 # instead of files: a Hugging Face data set, with subset and split names:
# subset = "sst2"                  #   train = "train", test = "validation"
text_columns = ["sentence"]        # one column, or two for pairs
label_column = "label"
# max_train = 5000                 # use at most so many examples
prefix_fraction = 0.0              # share of the training part that moves θ₀ and is never counted: docs/data-prefix.md
licence = "not declared"           # printed in the tables
overlap = "not declared"           # what is known about these data and the model's pretraining; printed in the certificate

[prefix]                           # how θ₀ is moved, if there is a prefix_fraction; the subspace is [measurement]'s
dim = 300
seed = 0
learning_rate = 3.0                # as one of [measurement]
steps = 300

[measurement]
# preset = "search"                # or "aghajanyan2020", "li2018": docs/how-to/sweep.md; what stands here is stronger
parametrization = "said"           # what moves: docs/parametrizations.md; "full_weights" is DID
# parametrization_options = { scales = "tensor" }  # its options
projection = "fastfood"            # a family of docs/projections.md
# projection_options = { rademacher = 1 }  # its options
allocation = "global"              # "global" or "per_tensor"
# train_directly = ["classifier.*"]  # tensors trained weight by weight beside P; each of their weights counts in d
device = "cpu"                     # "cuda", "cuda:1", or "auto": a CUDA device if there is one
memory = "keep"                    # "recompute" makes weights where they are used: half the memory for them, more time
dims = [100, 300, 1000]            # the grid of d, every trained number counted
seeds = [0, 1]                     # projections, orders of examples and dropout
# dim_weights = [4, 2, 1]          # prior mass of each d in the message, equal unless given; so with seed_weights, and
                                   # step_weights of the 256 steps (docs/format.md)
# code_weights = { gaussian = 3, adaptive = 1 }  # the message's codes and their masses; docs/format.md has the usual ones
learning_rates = [3.0, 9.0]        # length of one Adam step in the subspace (each number gets this / sqrt(d));
                                   #   the best on validation is taken for each d
full_learning_rates = [1e-4]       # Adam's own, for full fine-tuning
search = false                     # true: dims = [smallest, largest], and d, seeds and rates are chosen as results come in
# search_rule = "paper"            # or "chance_corrected": the d90 that is looked for
# wanted_ratio = 2.0               # stop when the interval's upper end is at most so many times its lower end
# most_trials = 60                 # or when so many are trained
drop_hopeless = false              # true: a learning rate that is clearly behind another half-way is stopped there
batch_size = 32
# micro_batch_size = 8             # so many examples at a time; the gradient is still that of the whole batch
optimizer = "AdamW"                # any of torch.optim for dense gradients; the message's rounding is trained by AdamW
# optimizer_options = { betas = [0.9, 0.98] }  # its keyword arguments; no weight decay unless given
schedule = "linear"                # decay after the warm-up: "linear", "cosine" or "constant"
warmup_fraction = 0.1              # share of the steps in which the learning rate rises
clip_norm = 1.0                    # longest gradient; a very large number turns clipping off
precision = "float32"              # of the forward pass in training; "bfloat16", or "float16" on a CUDA device
cuda_graphs = false                # true on a CUDA device: small models train several times as fast
length_bucketing = false           # batches of texts of like length: less padding
# evaluate_every = 50              # count validation errors every so many steps and keep the weights with the fewest
# patience = 3                     # stop after so many counts without improvement
steps = 300                        # training steps of each trial
quantization_steps = 150           # further steps with the rounding in place, for each message that is tried

[execution]
executor = "in_process"            # "processes": several trials at a time on this machine; "ray": on many (extra idbounds[ray])
# workers = 2                      # trials at a time; by default one for each GPU, or for each `threads` cores
# batch_trials = 4                 # small networks: so many trials that differ in seed or rate at once (docs/how-to/sweep.md)
# devices_per_trial = 2            # GPUs that train each trial together, a part of every batch on each
retries = 2                        # how often a failed trial is tried again
# threads = 1                      # of torch; results are the same bits only for the same number, by default torch's own
device = "cpu"                     # where trials are trained; "cuda"
# ray_address = "auto"             # join a Ray that runs; "local" starts one
# ray_cpus = 1.0                   # that a trial takes
# ray_gpus = 0.5                   # that a trial takes; 0.5 puts two on one GPU
# report_to = ["tensorboard"]      # and "wandb", "mlflow", "trackio": extras of the same names

[compression]
candidates = 8                     # messages that are trained and written in the search for the smallest bound
# steps = 600                      # training steps of each, instead of quantization_steps
# minutes = 30                     # begin no further one after so long

[certificate]
delta = 0.05                       # the bound holds with probability 1 - delta
predictors = ["message"]           # or ["message", "stochastic"], which share delta, or ["stochastic"]: docs/stochastic.md

[stochastic]                       # a Gaussian posterior beside the message, by `idbounds certify RUN --stochastic`
largest_scale = 1000.0             # its prior is N(0, scale^2 I) with a scale of this declared list:
scale_ratio = 1.2                  #   largest_scale / scale_ratio^j,
num_scales = 128                   #   j = 0 ... num_scales - 1; choosing one costs log2(num_scales) bits
draws = 500                        # networks drawn from it, to estimate its training error
examples_a_draw = 128              # training examples that each of them is counted on, drawn for it
draw_seed = 0
steps = 300                        # of training it on its bound, from a trial's vector
learning_rate = 0.03               # Adam's, in units of the vector's root mean square
"""
