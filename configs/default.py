"""Every setting with its default; the other configs change a few of them.

Not meant to be run by itself: it names no data set. A key that is not in this
file is unknown, and an unknown key is an error.
"""

from typing import Any

import ml_collections

from configs import default_data


def get_config() -> ml_collections.ConfigDict:
  """Returns the defaults, the paper's values where the paper gives one."""
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.data = default_data.get_data()
  c.groups = _groups()
  c.targets = _targets()
  c.model = _model()
  c.losses = _losses()
  c.pretraining = _pretraining()
  c.optimizer = _optimizer()
  c.stages = _stages()
  c.train = _train()
  c.decode = _decode()
  c.predict = _predict()
  c.eval = _eval()
  return c


def _groups() -> ml_collections.ConfigDict:
  c = ml_collections.ConfigDict()
  c.num = 1  # energy groups; 1 = the paper
  # By which classes lie on each other; False: all in group 0.
  c.automatic = True
  c.by_class = ()  # ((class name, group), ...) overrides that
  return c


def _targets() -> ml_collections.ConfigDict:
  c = ml_collections.ConfigDict()
  c.num_energy_levels = 20
  c.energy_disc = "fixed"  # fixed: energy_disc_px; box: 0.8 x the box
  c.energy_disc_px = 17
  c.disc_center = "exact"  # exact; rounded (the paper): up to 1 px away
  c.energy_shape = "oval"  # oval, square
  c.energy_profile = "linear"  # linear, root, quadratic
  c.class_disc_px = 9
  c.class_overlap = "last"  # last (the paper), nearest
  c.size_disc_px = 9
  c.energy_strides = (1, 8, 16)
  c.size_strides = (1, 8)
  c.stride_reduction = "mean"  # mean, min
  return c


def _model() -> ml_collections.ConfigDict:
  c = ml_collections.ConfigDict()
  c.backbone_depth = 101  # 10, 18, 34, 50, 101, 152
  c.backbone_width = 64  # channels of the first stage
  c.filters = 256  # channels of RefineNet
  c.class_hidden = 0  # units of a hidden layer in the class head
  c.decoder_norm = False  # batch norm in RefineNet; faster from scratch
  c.separate_decoders = False  # one RefineNet for each head
  # A head for the way to the box's centre; False = centres come from the energy
  # alone, as the paper.
  c.center_offsets = False
  c.dtype = "auto"  # auto: bfloat16 on GPU and TPU, float32 on CPU
  return c


def _losses() -> ml_collections.ConfigDict:
  c = ml_collections.ConfigDict()
  c.energy_focal_gamma = 0.0
  c.class_focal_gamma = 0.0
  c.energy_smoothing = 0.0  # levels; a Gaussian target around the true level
  c.size_loss = "mse"  # mse (the paper), smooth_l1, log_l1
  c.energy_weights = "none"  # none, balanced (foreground and background)
  c.class_weights = "none"  # none, by_class, by_object
  c.class_pixels = 4096  # budget of foreground pixels of the class loss
  return c


def _pretraining() -> ml_collections.ConfigDict:
  # What a run starts with, if it has no checkpoint yet; done in W/pretraining
  # (class, semseg). Parameters are matched by name and shape.
  c = ml_collections.ConfigDict()
  c.level = "none"  # none, class, semseg, imagenet, run
  # class: symbol records or a folder of images for each class, "" = symbols of
  # the training pages; imagenet: a .pth or .safetensors file of torchvision's
  # ResNet; run: a workdir or WORKDIR/checkpoints/STEP.
  c.path = ""
  c.steps = 2000  # of class and semseg, as all that follows
  c.batch_size = 16  # over all devices
  c.learning_rate = 0.0  # 0 = the optimizer's
  c.crop_hw = ()  # px; () = (64, 64) for class, data.crop_hw for semseg
  return c


def _optimizer() -> ml_collections.ConfigDict:
  c = ml_collections.ConfigDict()
  c.name = "rmsprop"  # rmsprop, adam, sgd
  c.learning_rate = 5e-5
  c.schedule = "constant"  # constant, cosine
  c.warmup_steps = 0
  c.l2 = 5e-7  # on kernels, added to the gradient
  c.weight_decay = 0.0  # of kernels, decoupled (AdamW)
  c.clip_norm = 0.0  # 0 = no clipping
  c.rmsprop_decay = 0.995
  c.momentum = 0.9  # of sgd
  return c


def _stages() -> tuple[ml_collections.ConfigDict, ...]:
  # The paper's recipe. `factors` weigh the losses of a stage; with balance,
  # each loss is first divided by its mean over the last 5 steps.
  return tuple(
    ml_collections.ConfigDict(
      {
        "name": name,
        "steps": steps,
        "losses": losses,
        "factors": factors,
        "balance": balance,
        "reset_optimizer": True,
        "frozen": (),  # patterns of parameter paths
        "learning_rate": 0.0,  # 0 = the optimizer's
        # Validations without a lower loss that end a stage early; 0 = never.
        "patience": 0,
      }
    )
    for name, steps, losses, factors, balance in (
      ("energy", 20000, ("energy",), (1.0,), False),
      ("class", 20000, ("class",), (1.0,), False),
      ("box", 20000, ("box",), (1.0,), False),
      ("energy_again", 10000, ("energy",), (1.0,), False),
      ("combined", 30000, ("energy", "class", "box"), (2.0, 1.0, 1.0), True),
    )
  )


def _train() -> ml_collections.ConfigDict:
  c = ml_collections.ConfigDict()
  c.batch_size = 1  # over all devices
  c.accumulate = 1  # parts of a batch that go one after another
  c.remat = False  # compute again in the backward pass: less memory
  c.log_every = 50  # steps
  c.checkpoint_every = 1000  # steps
  c.keep_checkpoints = 3  # the newest, and the best one besides
  c.eval_every = 0  # steps; 0 = only at the end
  c.validate_every = 0  # steps; losses on crops of data.eval_split; 0 = never
  c.validate_batches = 8  # of each validation
  c.pictures_every = 0  # steps; input, targets, predictions; 0 = never
  # Folder of compiled code, for runs to share; "" = WORKDIR/compilation_cache.
  # JAX_COMPILATION_CACHE_DIR of the environment goes first.
  c.compilation_cache = ""
  c.loss_window = 5  # steps of the running means
  c.batch_norm_momentum = 0.99
  c.ema_decay = 0.0  # of a running mean of the parameters; 0 = none
  # A step is skipped where something is not finite, or a trained loss is this
  # many times its running mean (0 = never for that reason).
  c.max_loss_ratio = 1e4
  c.max_skipped = 20  # skipped steps in a row that stop the run
  # A run whose config is not that of its checkpoint stops, unless this is set.
  c.accept_changes = False
  c.fsdp = 1  # devices over which parameters are sharded
  # (pattern of a path, fsdp or replicate); the first that matches counts.
  c.sharding = (
    ("(^|/)kernel$", "fsdp"),
    ("(^|/)(bias|scale|mean|var)$", "replicate"),
  )
  return c


def _decode() -> ml_collections.ConfigDict:
  c = ml_collections.ConfigDict()
  c.method = "watershed"  # watershed, threshold (the paper's)
  c.energy = "auto"  # expectation, argmax; auto: argmax for threshold
  c.energy_cutoff = 5.0  # a level: pixels above it belong to a component
  c.min_area_px = 4
  c.min_seed_level = 5.0  # watershed: lowest peak that seeds a basin
  c.min_saddle_depth = 0.1  # watershed: levels of dip between two objects
  c.smooth = 1  # watershed: passes of a 3 x 3 filter before the peaks
  c.class_pixels = 9  # watershed: pixels around a peak that vote on its class
  c.max_detections = 2048  # slots K of a page
  c.size = "weighted"  # weighted (by the energy), mean, max (the paper's)
  c.class_vote = "share"  # share (of probability), majority (the paper's)
  c.suppress_iou = 0.0  # 0 = off: of two that overlap more, the better stays
  c.legacy = False  # threshold exactly as the original, quirks included
  return c


def _predict() -> ml_collections.ConfigDict:
  c = ml_collections.ConfigDict()
  # Most megapixels (after scaling) in one call of the network, which bound its
  # memory: larger pages are cut into tiles, batches hold fewer pages.
  c.max_mpx = 8.0
  c.overlap_px = 640  # of tiles; twice what the network sees around a pixel
  c.batch_size = 1  # pages of the same padded size, or tiles, of one call
  c.scales = (1.0,)  # times data.eval_scale; several are predicted and fused
  c.page_multiple = 64  # pages are padded to multiples of this, px
  # To data.staff_space_px: auto, exact (no steps, no tolerance), off.
  c.normalise = "auto"
  return c


def _eval() -> ml_collections.ConfigDict:
  c = ml_collections.ConfigDict()
  c.protocol = "coco"  # coco, voc, legacy
  # Scores become probabilities, and a default threshold is chosen, on the pages
  # of data.eval_split; kept with the checkpoint. Not in the legacy protocol.
  c.calibrate = True
  c.checkpoint = "last"  # last, best (of those evaluated while training)
  c.min_score = 0.05  # detections below do not count
  c.overlays = 4  # pages drawn; 0 = none
  c.viewer_pages = 50  # first pages in the viewer; -1 = all, 0 = no viewer
  # With --mode=eval: measure what W/eval has of the last evaluation, by another
  # protocol or min_score, without the network.
  c.from_saved = False
  # Other data sets to judge the run on, besides its own; a config file may give
  # more: c.eval.on = (default.other_set(builder=...), ...).
  c.on = tuple(other_set() for _ in range(3))
  c.on_during_training = False  # at every train.eval_every, too
  return c


def other_set(**values: Any) -> ml_collections.ConfigDict:
  """An entry of `eval.on`; keys as in `data`, the empty one does nothing.

  Classes are matched by their vocabularies, see
  dwd_jax/evaluate/other_data_sets.py.

  Args:
    **values: keys that differ from the empty entry.
  """
  c = ml_collections.ConfigDict()
  c.builder = ""  # "" = none
  c.builder_config = ""
  c.manual_dir = ""
  c.data_dir = ""  # "" = WORKDIR/data/on, with a name WORKDIR/data/on/NAME
  c.split = "test"
  c.name = ""  # of the results, W/eval/NAME.json; "" = BUILDER-SPLIT
  c.eval_scale = 0.0  # 0 = the run's
  c.max_pages = 0  # 0 = the run's
  c.options = default_data.options()
  c.update(values)
  return c
