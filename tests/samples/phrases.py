"""What is typed in place of a question, in many languages: noun phrases, and words with no grammar.

The n-th asks for the n-th note of `languages.py`, by some of its words, in forms of their own, and
mostly with one that the note does not have.  The last five ask for what no note tells: who painted
a picture, how far a planet is, a capital, a champion, who wrote a play.
"""

from tests.samples.languages import parts

PHRASES: dict[str, str] = {
    "english": """
        spare key location|the dentist's new address|grandma's plum cake recipe|dog fear balloons
        due date of the rent|borrowed ladder|tent pegs backpack|best place for tomatoes
        library card expiry date|kitchen wall paint colour name
        Mona Lisa painter|distance to Neptune|capital of Brazil|chess world champion|Hamlet author
    """,
    "german": """
        Ort des Ersatzschlüssels|neue Adresse vom Zahnarzt|Omas Pflaumenkuchen Rezept
        Angst des Hundes Ballons|Fälligkeit der Miete|verliehene Leiter|zelt heringe rucksack
        bester Platz für Tomaten|bibliotheksausweis ablaufdatum|Name der blauen Küchenfarbe
        Maler der Mona Lisa|Entfernung zum Neptun|Hauptstadt Brasiliens|Weltmeister im Schach
        Autor von Hamlet
    """,
    "french": """
        L'emplacement de la clé de secours|La nouvelle adresse du dentiste
        recette gâteau aux prunes de grand-mère|La peur du chien|La date du loyer|échelle prêtée
        piquets tente sac|Le meilleur endroit pour les tomates|carte bibliothèque date expiration
        Le nom de la peinture bleue
        Le peintre de la Joconde|La distance de Neptune|La capitale du Brésil
        champion du monde d'échecs|auteur de Hamlet
    """,
    "spanish": """
        El lugar de la llave de repuesto|nueva dirección del dentista
        receta del pastel de ciruelas|El miedo del perro|fecha del alquiler|escalera prestada
        estacas tienda mochila|El mejor lugar para los tomates|carné biblioteca fecha
        El nombre de la pintura azul
        pintor de la Gioconda|distancia a Neptuno|La capital de Brasil
        campeón mundial de ajedrez|autor de Hamlet
    """,
    "polish": """
        miejsce zapasowego klucza|nowy adres dentysty|przepis babci na placek ze śliwkami
        strach psa przed balonami|termin czynszu|pożyczona drabina|śledzie namiot plecak
        najlepsze miejsce na pomidory|karta biblioteczna termin|nazwa niebieskiej farby
        malarz Mony Lisy|odległość do Neptuna|stolica Brazylii|mistrz świata w szachach
        autor Hamleta
    """,
    "czech": """
        místo náhradního klíče|nová adresa zubaře|babiččin švestkový koláč recept
        strach psa z balónů|termín nájmu|půjčený žebřík|stanové kolíky batoh
        nejlepší místo pro rajčata|průkaz knihovna platnost|název modré barvy v kuchyni
        malíř Mony Lisy|vzdálenost Neptunu|hlavní město Brazílie|mistr světa v šachu|autor Hamleta
    """,
    "turkish": """
        yedek anahtarın yeri|dişçinin yeni adresi|büyükannenin erikli kek tarifi|köpeğin korkusu
        kira günü|ödünç verilen merdiven|çadır kazıkları çanta|domatesler için en iyi yer
        kütüphane kartı süresi|mavi boyanın adı
        Mona Lisa ressamı|Neptün uzaklığı|Brezilya başkenti|dünya satranç şampiyonu|Hamlet yazarı
    """,
    "finnish": """
        vara-avaimen paikka|hammaslääkärin uusi osoite|mummon luumukakku resepti|koiran pelko
        vuokran maksupäivä|lainattu tikkaat|teltan kiilat reppu|paras paikka tomaateille
        kirjastokortti voimassa|sinisen maalin nimi
        Mona Lisan maalari|Neptunuksen etäisyys|Brasilian pääkaupunki|shakin maailmanmestari
        Hamletin kirjoittaja
    """,
    "russian": """
        место запасного ключа|новый адрес зубного врача|рецепт бабушкиного сливового пирога
        страх собаки|дата аренды|лестница у соседа|колышки палатка рюкзак
        лучшее место для помидоров|читательский билет срок|название синей краски
        автор Моны Лизы|расстояние до Нептуна|столица Бразилии|чемпион мира по шахматам
        автор Гамлета
    """,
    "ukrainian": """
        місце запасного ключа|нова адреса зубного лікаря|рецепт сливового пирога бабусі
        страх собаки|дата оренди|драбина у сусіда|кілочки намет рюкзак
        найкраще місце для помідорів|читацький квиток термін|назва синьої фарби
        автор Мони Лізи|відстань до Нептуна|столиця Бразилії|чемпіон світу з шахів|автор Гамлета
    """,
    "greek": """
        θέση για το εφεδρικό κλειδί|νέα διεύθυνση οδοντίατρος|συνταγή κέικ με δαμάσκηνα
        ο φόβος του σκύλου|ημερομηνία ενοίκιο|δανεισμένη σκάλα|πασσαλάκια σκηνή σακίδιο
        καλύτερη θέση για ντομάτες|κάρτα βιβλιοθήκης λήξη|όνομα μπλε μπογιάς
        ζωγράφος της Μόνα Λίζα|απόσταση του Ποσειδώνα|πρωτεύουσα της Βραζιλίας
        παγκόσμιος πρωταθλητής σκακιού|συγγραφέας του Άμλετ
    """,
    "arabic": """
        مكان المفتاح الاحتياطي|عنوان طبيب الأسنان الجديد|وصفة كعكة البرقوق|خوف الكلب
        موعد الإيجار|السلم المعار|أوتاد الخيمة والحقيبة|أفضل مكان الطماطم
        بطاقة المكتبة تاريخ|اسم الطلاء الأزرق
        رسام الموناليزا|بعد نبتون|عاصمة البرازيل|بطل العالم في الشطرنج|مؤلف هاملت
    """,
    "hindi": """
        अतिरिक्त चाबी की जगह|दंत चिकित्सक का नया पता|दादी के आलूबुखारे के केक की विधि|कुत्ते का डर
        किराया तारीख|उधार दी हुई सीढ़ी|तंबू खूँटियाँ बस्ता|टमाटर की सबसे अच्छी जगह
        पुस्तकालय कार्ड तारीख|नीले रंग का नाम
        मोना लिसा का चित्रकार|वरुण ग्रह की दूरी|ब्राज़ील की राजधानी|शतरंज विश्व विजेता
        हैमलेट का लेखक
    """,
    "chinese": """
        备用钥匙的位置|牙医的新地址|奶奶的李子蛋糕配方|小狗 害怕|房租 日期|借出的梯子|帐篷钉 背包
        西红柿的最佳位置|图书证 到期日|蓝色油漆的名字
        蒙娜丽莎的画家|海王星的距离|巴西首都|国际象棋世界冠军|哈姆雷特的作者
    """,
    "japanese": """
        合鍵の場所|歯医者の新しい住所|祖母の梅のケーキのレシピ|犬の怖いもの|家賃の支払日|貸したはしご
        テントの杭 リュック|トマトの一番いい場所|図書館カードの期限|青いペンキの名前
        モナリザの画家|海王星までの距離|ブラジルの首都|チェスの世界チャンピオン|ハムレットの作者
    """,
    "korean": """
        예비 열쇠 위치|치과 의사 새 주소|할머니 자두 케이크 조리법|강아지가 무서워하는 것|월세 날짜
        빌려준 사다리|텐트 말뚝 배낭|토마토 자리|도서관 카드 만료일|파란 페인트 이름
        모나리자 화가|해왕성 거리|브라질 수도|체스 세계 챔피언|햄릿 작가
    """,
    "vietnamese": """
        chỗ để chìa khóa dự phòng|địa chỉ mới của nha sĩ|công thức bánh mận của bà ngoại
        nỗi sợ của con chó|ngày trả tiền thuê nhà|cái thang cho mượn|cọc lều ba lô
        chỗ tốt nhất cho cà chua|thẻ thư viện hạn|tên sơn xanh trong bếp
        họa sĩ vẽ Mona Lisa|khoảng cách Sao Hải Vương|Thủ đô Brazil|vô địch cờ vua thế giới
        tác giả Hamlet
    """,
}
"""By language, a bar or the end of a line between two."""


def phrases(language: str) -> tuple[list[str], list[str], list[str]]:
    """The notes, ten phrases that ask for them, and five that no note answers."""
    found = PHRASES[language].strip().replace("\n", "|").split("|")
    found = [text.strip() for text in found]
    return parts(language)[0], found[:10], found[10:]
