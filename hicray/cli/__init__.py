"""``hicray <verb>``: options in, a call of the rooms, what is printed; a file for each verb.

What can be refused is refused first, before Ray starts and before heavy libraries are imported,
which the verb that needs them does, so that ``--help`` answers at once.
"""
