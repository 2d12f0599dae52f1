"""Turn scored tables into leaderboards, figures and one-file reports.

The usual way:

    board = leaderboard.build(tables.load("scored"))
    print(formats.to_markdown(display.display(board)))
    plots.save(plots.tradeoff(board.part()), "tradeoff.png")
"""
