"""The main job: does DNA help, at which gap, and how deep must its encoder be?

Searches {noseq, seq} x {gaps} as four cells with equal trials: SSIM weight in all of them, depth
of the DNA tower and fusion in those with DNA; then scores the best of each cell on the test
chromosomes, beside the baselines.

Command, on a laptop (a simulated genome and map; 9 minutes on 2 cores):

    python experiments/tune_encoder.py

Expected: at the wider gap, O/E Pearson on test chromosomes about 0.66 for 'coarse O/E x fine
expected', 0.71 for the best filter, 0.77 for noseq and 0.89 for seq; at the narrower gap seq gains
about 0.04.

Command, on the cluster, with the report's maps (H1-ESC and HFF micro-C, GRCh38):

    python experiments/tune_encoder.py --contacts 4DNFI9GMP2J8.mcool 4DNFI643OYP9.mcool \
        --genome hg38.fa --preset large --encoder frozen --encoder-weights hicfoundation.pth.tar \
        --split hicfoundation --trials 16 --epochs 32 --use-gpu
"""

from hicray.cli.main import tune_from_command_line

if __name__ == "__main__":
    tune_from_command_line()
