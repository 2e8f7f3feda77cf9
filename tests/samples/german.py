"""Notes of a household, in German: no names, no turns, no dates."""

MEMORIES = """
Der Ersatzschlüssel hängt an einem Nagel hinter der Wasseruhr.
Die Heizung verliert Druck, bitte auf anderthalb Bar auffüllen.
Olivenöl ist auf dem Markt billiger als im Supermarkt.
Die Katze der Nachbarin schläft bei Regen in unserem Schuppen.
Der Router muss nach jedem Stromausfall neu gestartet werden.
Der Pflaumenkuchen braucht doppelt so viel Zucker wie im Rezept.
Die Luftpumpe passt nur auf das kurze Ventil.
Der Zahnarzt möchte den linken Backenzahn beobachten.
Bücher kann man nachts durch den Schlitz der Bibliothek zurückgeben.
Die blaue Farbe der Küchenwand heißt Hafennebel.
Der Rauchmelder im Flur braucht eine Batterie mit neun Volt.
Tomaten gedeihen auf der Südseite des Balkons besser.
Das Auto macht beim starken Bremsen ein schleifendes Geräusch.
Die Miete muss vor dem fünften Tag des Monats überwiesen sein.
Die Waschmaschine bleibt stehen, wenn man sich an die Tür lehnt.
Unter dem Gästebett steht eine Kiste mit alten Fotos.
Der Zug an die Küste fährt vom letzten Bahnsteig ab.
Der Teig geht im Backofen auf, wenn nur das Licht brennt.
Die Steuerunterlagen liegen im grünen Ordner ganz oben im Regal.
Der Hund fürchtet sich vor Heißluftballons.
Das Schwimmbad ist vormittags unter der Woche halb leer.
Der Reisepass läuft früher ab als der Personalausweis.
Unsere Versicherung zahlt keine zerbrochenen Fenster.
Das Klavier sollte vor dem Winter gestimmt werden.
Von Penicillin bekomme ich Ausschlag.
Die Wanderschuhe sind beim Schuster und bekommen neue Sohlen.
Die Bäckerei schließt an Markttagen früher.
Der Drucker braucht die dicke Patrone, nicht die dünne.
Die Schule verlangt Hallenschuhe mit hellen Sohlen.
Auf den Kompost dürfen keine Zitronenschalen.
Der Busfahrer lässt Kinder ohne Fahrkarte mitfahren.
Das Thermometer im Arbeitszimmer zeigt zwei Grad zu viel.
Der Stromzähler wird in der letzten Woche des Quartals abgelesen.
Die Apotheke um die Ecke liefert am Abend.
Die Leiter ist an die Leute im Erdgeschoss verliehen.
Der Gefrierschrank muss zweimal im Jahr abgetaut werden.
Die Geigenstunde findet jetzt neben der Turnhalle statt.
Der Gartenschlauch ist an der Kupplung undicht.
Der Code der Alarmanlage ist die Hausnummer rückwärts.
Die Berghütte hat nach dem ersten Frost kein fließendes Wasser.
Die Heringe des Zeltes stecken in der Tasche des grauen Rucksacks.
Die Staubsaugerbeutel gibt es in einem Laden am Hafen.
""".strip().splitlines()

QUESTIONS = [
    ("Wo ist der Ersatzschlüssel?", 0),
    ("Was tun, wenn die Heizung keinen Druck hat?", 1),
    ("Wo bekommt man günstiges Olivenöl?", 2),
    ("Wo schläft die Katze, wenn es regnet?", 3),
    ("Nach dem Stromausfall geht das Internet nicht, was muss ich mit dem Router machen?", 4),
    ("Wie viel Zucker kommt in den Pflaumenkuchen?", 5),
    ("Welchen Zahn will der Zahnarzt beobachten?", 7),
    ("Wie heißt die Farbe an der Wand in der Küche?", 9),
    ("Welche Batterie gehört in den Rauchmelder?", 10),
    ("Wohin soll ich die Tomaten stellen?", 11),
    ("Welches Geräusch macht das Auto?", 12),
    ("Bis wann muss ich die Miete überweisen?", 13),
    ("Wo sind die alten Fotos?", 15),
    ("Von welchem Bahnsteig fährt der Zug?", 16),
    ("Wo liegen die Unterlagen für die Steuer?", 18),
    ("Wovor fürchtet sich der Hund?", 19),
    ("Wann ist das Schwimmbad leer?", 20),
    ("Welches Medikament vertrage ich nicht, war es Penicillin?", 24),
    ("Wer besohlt meine Wanderschuhe?", 25),
    ("Was darf nicht auf den Kompost?", 29),
    ("Stimmt das Thermometer im Arbeitszimmer?", 31),
    ("Wem haben wir die Leiter geliehen?", 34),
    ("Wie lautet der Code für die Alarmanlage?", 38),
    ("Wo stecken die Heringe für das Zelt?", 40),
]

STRANGE = [
    "Wer gewann die Weltmeisterschaft im Schach?",
    "Wie weit ist Neptun entfernt?",
    "Welche Sprache spricht man in Brasilien?",
]
"""What has nothing to do with them."""
