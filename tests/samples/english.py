"""Notes of a household, in English: no names, no turns, no dates.  Questions ask in other words."""

MEMORIES = """
The spare key hangs on a nail behind the water meter.
The boiler loses pressure; top it up to one and a half bar.
Olive oil is cheaper at the market than in the supermarket.
The neighbour's cat sleeps in our shed when it rains.
The wifi router has to be restarted after every power cut.
Grandmother's plum cake needs twice the sugar written in the recipe.
The bicycle pump only works with the short valve.
The dentist said the left molar should be watched.
Library books can be returned through the slot at night.
The blue paint of the kitchen wall is called harbour mist.
The smoke detector in the hallway takes a nine volt battery.
Tomatoes do better on the south side of the balcony.
The car makes a grinding noise when braking hard.
The landlord wants the rent transferred before the fifth.
The washing machine stops when the door is leaned on.
There is a box with old photographs under the guest bed.
The train to the coast leaves from the last platform.
Bread rises better in the oven with only the lamp switched on.
The tax papers are in the green folder on the top shelf.
The dog is afraid of hot air balloons.
The swimming pool is half empty on weekday mornings.
The passport expires sooner than the identity card.
Our insurance does not cover broken windows.
The piano should be tuned again before winter.
Penicillin gives me a rash.
The hiking boots are at the cobbler's for new soles.
The bakery closes early on market days.
The printer needs the thick cartridge, not the thin one.
The school asks for indoor shoes with white soles.
The compost bin must not get any citrus peel.
The bus driver lets children ride without a ticket.
The thermostat in the study shows two degrees too much.
The electricity meter is read in the last week of the quarter.
The pharmacy around the corner delivers in the evening.
The ladder is lent to the people downstairs.
The freezer has to be defrosted twice a year.
The violin lesson moved to the room next to the gym.
The garden hose leaks at the coupling.
The alarm code is the house number backwards.
The mountain hut has no running water after the first frost.
The tent pegs are in the pocket of the grey rucksack.
The vacuum cleaner bags come from a shop by the harbour.
""".strip().splitlines()

QUESTIONS = [
    ("Where can I find a second key for the house?", 0),
    ("What should I do when the heating pressure drops?", 1),
    ("Which place has inexpensive olive oil?", 2),
    ("Where does the cat go in bad weather?", 3),
    ("The internet is gone since the electricity failed, what now?", 4),
    ("How much sugar goes into the plum cake?", 5),
    ("Which tooth has a problem?", 7),
    ("What colour is the wall in the kitchen?", 9),
    ("Which battery does the smoke alarm need?", 10),
    ("Where should I plant tomatoes?", 11),
    ("What is wrong with the brakes of the car?", 12),
    ("When is the rent due?", 13),
    ("Where are the old family pictures?", 15),
    ("How do I get the dough to rise?", 17),
    ("Where did I put the documents for the tax office?", 18),
    ("What frightens the dog?", 19),
    ("When is a good time to swim without a crowd?", 20),
    ("Which medicine am I allergic to?", 24),
    ("Who is repairing my boots?", 25),
    ("What must not be thrown on the compost?", 29),
    ("Is the temperature in the study right?", 31),
    ("Who has borrowed our ladder?", 34),
    ("What is the code of the burglar alarm?", 38),
    ("Where are the pegs of the tent?", 40),
]

STRANGE = ["Who painted the ceiling of the Sistine Chapel?", "How far is Neptune from the sun?"]
"""What has nothing to do with them."""
