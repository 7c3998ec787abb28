"""Mistakes in the code that a test must notice, each with the tests that do."""

from typing import NamedTuple


class Mutant(NamedTuple):
    """One mistake.

    Attributes:
        name: What is wrong.
        file: Where, below ``hicray/``.
        old: What is right; it occurs there once.
        new: What takes its place.
        tests: Ids below ``tests/``; each of them fails.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


_TRAIN = "training/train.py"
_LOSSES = "training/losses.py"
_GRADIENTS = "training/test_gradients.py"
_WORKER = "training/test_train_worker.py"
_SEEN = "training/test_windows_seen.py"
_SEARCH = "training/test_tune.py"
_PIXELS = "maps/test_pixels.py"
_STORED = "training/test_stored_dna.py"
_EMBED = "dna_models/test_embed.py"
_ZOOMS = "maps/test_write.py::test_a_constant_map_is_constant_at_every_zoom"
_SHOWN_DNA = (
    "comparison/test_judged_dna.py"
    "::test_a_seq_network_is_shown_its_own_shuffled_and_another_locus_dna"
)

MUTANTS = (
    Mutant(
        "accumulated gradients not divided",
        _TRAIN, "(value * scale).backward()", "value.backward()",
        (f"{_GRADIENTS}::test_accumulated_gradients_are_the_gradient_of_the_mean_over_all_windows",),
    ),
    Mutant(
        "an epoch's last step divided by more than it sums",
        _TRAIN, "1 / self._summed(step)", "1 / config.accumulate",
        (f"{_GRADIENTS}::test_an_epochs_last_step_is_the_mean_over_the_windows_that_it_sums",),
    ),
    Mutant(
        "clipping off",
        _TRAIN, "self.bare.parameters(), config.clip)", "self.bare.parameters(), math.inf)",
        (f"{_GRADIENTS}::test_a_gradient_is_clipped_to_its_largest_norm_and_keeps_its_direction",),
    ),
    Mutant(
        "unusable pixels are learnt from",
        _LOSSES, '"usable": batch.usable}', '"usable": batch.usable | True}',
        (f"{_GRADIENTS}::test_accumulated_gradients_are_the_gradient_of_the_mean_over_all_windows",),
    ),
    Mutant(
        "the learning rate's schedule begins anew in every epoch",
        _TRAIN, "done = epoch * per_epoch + step", "done = step",
        (f"{_GRADIENTS}::test_the_rate_rises_and_falls_once_in_all_epochs",),
    ),
    Mutant(
        "several workers' network not wrapped",
        _TRAIN, "ray.train.torch.prepare_model(bare)", "bare",
        (f"{_WORKER}::test_two_workers_learn_what_one_learns_from_their_windows",),
    ),
    Mutant(
        "gradients of two workers never exchanged",
        _TRAIN, "and not moves:", "and True:",
        (f"{_WORKER}::test_two_workers_learn_what_one_learns_from_their_windows",),
    ),
    Mutant(
        "optimizer not restored",
        _TRAIN, "checkpoint.load_optimizer(folder, optimizer)", "pass",
        (f"{_WORKER}::test_a_run_that_was_killed_ends_where_an_undisturbed_one_does",),
    ),
    Mutant(
        "the optimizer's state read and dropped",
        "model/checkpoint.py", "optimizer.load_state_dict(state)", "pass",
        (f"{_WORKER}::test_a_run_that_was_killed_ends_where_an_undisturbed_one_does",),
    ),
    Mutant(
        "every training seed starts from the same weights",
        _TRAIN, "torch.manual_seed(trial.train.seed)", "torch.manual_seed(0)",
        (f"{_WORKER}::test_a_run_begins_with_its_seeds_weights",),
    ),
    Mutant(
        "the elsewhere arm trained on its own DNA",
        "training/data.py", '"elsewhere" if model.sequence == "elsewhere" else "own"', '"own"',
        (
            "training/test_data.py"
            "::test_the_elsewhere_arm_is_trained_on_dna_from_half_a_set_away",
        ),
    ),
    Mutant(
        "bins that are masked in part weigh as whole ones in an enhanced map's zooms",
        "maps/write.py", "np.divide(1.0, share, out", "np.divide(share, share, out",
        (f"{_ZOOMS}[2]", f"{_ZOOMS}[4]", f"{_ZOOMS}[8]"),
    ),
    Mutant(
        "zooms show bins that are masked by more than half",
        "maps/write.py", "where=share >= _LEAST_USABLE", "where=share > 0",
        (f"{_ZOOMS}[4]", f"{_ZOOMS}[8]"),
    ),
    Mutant(
        "an enhanced map's weights left 1",
        "predict/enhance.py", "unit=unit,", "unit=1.0,",
        (
            "predict/test_unit.py"
            "::test_an_identity_network_writes_its_inputs_balanced_values[2]",
        ),
    ),
    Mutant(
        "enhancing ignores the checkpoint's cap",
        "predict/locus.py", "caps_of([source.cap])", "caps_of([None])",
        ("predict/test_locus.py::test_enhancing_caps_the_image_where_training_did",),
    ),
    Mutant(
        "shuffled DNA is a window's own",
        "windows/dna.py", 'if dna != "shuffled":', 'if dna != "never":',
        (_SHOWN_DNA,),
    ),
    Mutant(
        "the shuffled row of the table shows a window's own DNA",
        "comparison/arms.py", 'dna(predict, collate, "shuffled")', 'dna(predict, collate, "own")',
        (_SHOWN_DNA,),
    ),
    Mutant(
        "halves not doubled",
        "evaluation/window_set.py", "2 * from_network(", "1 * from_network(",
        ("evaluation/test_window_set.py::test_halves_of_the_reads_are_scored_at_full_depth",),
    ),
    Mutant(
        "ASHA shown test windows",
        "training/data.py", '= ("train", "val")', '= ("train", "test")',
        (f"{_SEARCH}::test_a_search_trains_and_chooses_on_the_windows_meant_for_it[val]",),
    ),
    Mutant(
        "arms given unequal trials",
        "training/tune.py",
        "num_samples=self.search.trials", 'num_samples=2 - (self.cell.sequence == "off")',
        (f"{_SEARCH}::test_both_arms_are_given_as_many_trials",),
    ),
    Mutant(
        "validation on training windows",
        _TRAIN, "Reader(data.val, batch)", "Reader(data.train, batch)",
        (f"{_SEEN}::test_validation_shows_every_window_of_its_set_once_and_no_other",),
    ),
    Mutant(
        "validation leaves out a window",
        _TRAIN, "whole_slice(data.val.rows,", "whole_slice(data.val.rows - 1,",
        (f"{_SEEN}::test_validation_shows_every_window_of_its_set_once_and_no_other",),
    ),
    Mutant(
        "maps seen from the other strand without their DNA",
        "windows/batches.py", "_other_strand(cols), self", "self.row_bases, self",
        (f"{_SEEN}::test_half_of_the_training_windows_are_seen_from_the_other_strand_maps_and_dna",),
    ),
    Mutant(
        "no window seen from the other strand",
        "training/augment.py", "flipped < 0.5", "flipped < 0.0",
        (f"{_SEEN}::test_half_of_the_training_windows_are_seen_from_the_other_strand_maps_and_dna",),
    ),
    Mutant(
        "of pixels that occur several times, the first taken for all",
        "maps/pixels.py", "np.add.reduceat(count[order], firsts)", "count[unique]",
        (f"{_PIXELS}::test_pixels_that_occur_twice_are_summed_as_cooler_does[1]",),
    ),
    Mutant(
        "rows of pixels taken as the index says",
        "maps/pixels.py", "if not np.array_equal(row, np.repeat(rows, np.diff(offsets))):",
        "if not len(rows):",
        (f"{_PIXELS}::test_rows_out_of_order_are_refused[True]",),
    ),
    Mutant(
        "what the split does not name is left out of the totals",
        "windows/parts.py", "contacts.sums(unsplit, balanced", "contacts.sums([], balanced",
        (
            "windows/test_parts.py"
            "::test_contigs_that_the_split_does_not_name_are_counted_and_no_more",
        ),
    ),
    Mutant(
        "embeddings seen from the other strand are this strand's",
        "windows/batches.py", "torch.where(pick, row.flip(1, 2), row)}",
        "torch.where(pick, row.flip(2), row)}",
        (f"{_STORED}::test_another_strand_is_the_other_strands_embeddings_in_reverse",),
    ),
    Mutant(
        "hidden windows keep their stored embeddings",
        "windows/batches.py", "given(self, *DNA).items()", "given(self, *DNA[:2]).items()",
        (f"{_STORED}::test_hidden_dna_is_no_embedding_and_blank_is_a_constant",),
    ),
    Mutant(
        "the other strand's positions are not turned around",
        "dna_models/binned.py", "reverse.flip(1)], dim=1", "reverse], dim=1",
        (f"{_EMBED}::test_bins_hold_the_mean_of_their_own_bases_on_both_strands",),
    ),
    Mutant(
        "a position that lies in two bins counts in the first alone",
        "dna_models/binned.py", "reached = beyond > 0", "reached = beyond > 1e9",
        (f"{_EMBED}::test_bins_hold_the_mean_of_their_own_bases_on_both_strands",),
    ),
    Mutant(
        "tracks on the scale of all chromosomes",
        "windows/track_table.py", 'if name == "train"]', "if name]",
        ("training/test_tracks.py::test_the_scale_is_that_of_the_training_chromosomes",),
    ),
    Mutant(
        "another model's table is scored with",
        "comparison/arms.py", "model.embedding_model != made_by", "model.embedding_model is None",
        (f"{_STORED}::test_a_comparison_refuses_another_models_table",),
    ),
)  # fmt: skip
