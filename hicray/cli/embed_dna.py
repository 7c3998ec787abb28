"""``hicray embed-dna``: a model of DNA run once over a genome."""

from hicray.cli.guard import say
from hicray.dna_models.options import EmbedDna


def embed_dna(options: EmbedDna) -> None:
    """Run a model of DNA over a genome once, and keep an embedding for each bin and strand."""
    from hicray.dna_models import catalog
    from hicray.dna_models.cost import cost
    from hicray.dna_models.embed import Pass, chromosomes
    from hicray.maps.genome import Genome

    if not options.plan_only:
        catalog.require_model(options.model, options.weights)
    sizes, window_operations = catalog.sizes(options.model, options.weights)
    planned = cost(
        sizes,
        chromosomes(Genome(options.genome), options),
        options.bin_size,
        options.precision,
        components=options.components,
        window_operations=window_operations,
    )
    say(str(planned))
    if options.plan_only:
        return
    embedding = Pass(options, sizes)
    note = embedding.run()
    if embedding.projects:
        say(f"{note.channels} components hold {embedding.explained():.1%} of the variance")
    say(f"{embedding.out}: {len(note.files)} chromosomes, {note.channels} channels a bin")
