"""Ten notes of a household in each of many languages, ten questions about them, ten without answer.

Without an answer is who painted a picture, how far a planet is, and so on.

The notes and questions say the same in every language: the key, the dentist, the cake, the dog, the
rent, the ladder, the tent pegs, the tomatoes, the library card, the paint.  The n-th question asks
for the n-th note.
"""

LANGUAGES: dict[str, str] = {}
"""By language: three paragraphs of ten lines, notes, questions, and what is not answered."""

LANGUAGES["english"] = """
The spare key hangs on a nail behind the water meter.
The dentist has moved to the market square.
Grandmother puts twice the sugar in the plum cake.
The dog is afraid of hot air balloons.
The rent is paid on the fifth of each month.
The ladder is lent to the neighbour downstairs.
The tent pegs are in the pocket of the grey backpack.
Tomatoes grow best on the south side of the balcony.
The library card expires in April.
The blue paint of the kitchen wall is called harbour fog.

Where does the spare key hang?
Where has the dentist moved?
How much sugar goes into the plum cake?
What is the dog afraid of?
When is the rent paid?
Who has the ladder?
Where are the tent pegs?
Where do tomatoes grow best?
When does the library card expire?
What is the blue paint called?

Who painted the Mona Lisa?
How far is Neptune from the sun?
What is the capital of Brazil?
Who won the chess championship?
How do airplanes fly?
When was the first computer built?
Which language is spoken in Peru?
Why is the sea salty?
How many teeth does a shark have?
Who wrote Hamlet?
"""
LANGUAGES["german"] = """
Der Ersatzschlüssel hängt an einem Nagel hinter der Wasseruhr.
Der Zahnarzt ist an den Marktplatz gezogen.
Großmutter nimmt für den Pflaumenkuchen doppelt so viel Zucker.
Der Hund fürchtet sich vor Heißluftballons.
Die Miete wird am Fünften jedes Monats überwiesen.
Die Leiter ist an den Nachbarn von unten verliehen.
Die Heringe vom Zelt stecken in der Tasche des grauen Rucksacks.
Tomaten wachsen am besten auf der Südseite des Balkons.
Der Bibliotheksausweis läuft im April ab.
Die blaue Farbe der Küchenwand heißt Hafennebel.

Wo hängt der Ersatzschlüssel?
Wohin ist der Zahnarzt gezogen?
Wie viel Zucker kommt in den Pflaumenkuchen?
Wovor fürchtet sich der Hund?
Wann wird die Miete überwiesen?
An wen ist die Leiter verliehen?
Wo sind die Heringe vom Zelt?
Wo wachsen Tomaten am besten?
Wann läuft der Bibliotheksausweis ab?
Wie heißt die blaue Farbe?

Wer malte die Mona Lisa?
Wie weit ist Neptun von der Sonne entfernt?
Was ist die Hauptstadt von Brasilien?
Wer gewann die Weltmeisterschaft im Schach?
Warum können Flugzeuge fliegen?
Wann wurde der erste Computer gebaut?
Welche Sprache spricht man in Peru?
Warum schmeckt Meerwasser salzig?
Wie viele Zähne hat ein Hai?
Wer schrieb Hamlet?
"""
LANGUAGES["french"] = """
La clé de secours est accrochée derrière le compteur d'eau.
Le dentiste a déménagé sur la place du marché.
Grand-mère met deux fois plus de sucre dans le gâteau aux prunes.
Le chien a peur des montgolfières.
Le loyer est payé le cinq de chaque mois.
L'échelle est prêtée au voisin du dessous.
Les piquets de la tente sont dans la poche du sac gris.
Les tomates poussent mieux au sud du balcon.
La carte de la bibliothèque expire en avril.
La peinture bleue de la cuisine s'appelle brume du port.

Où est accrochée la clé de secours ?
Où le dentiste a-t-il déménagé ?
Combien de sucre dans le gâteau aux prunes ?
De quoi le chien a-t-il peur ?
Quand le loyer est-il payé ?
À qui l'échelle est-elle prêtée ?
Où sont les piquets de la tente ?
Où poussent mieux les tomates ?
Quand expire la carte de la bibliothèque ?
Comment s'appelle la peinture bleue ?

Qui a peint la Joconde ?
Quelle distance sépare Neptune du soleil ?
Quelle est la capitale du Brésil ?
Qui a gagné le championnat d'échecs ?
Comment volent les avions ?
Quand fut construit le premier ordinateur ?
Quelle langue parle-t-on au Pérou ?
Pourquoi la mer est-elle salée ?
Combien de dents possède un requin ?
Qui a écrit Hamlet ?
"""
LANGUAGES["spanish"] = """
La llave de repuesto cuelga detrás del contador de agua.
El dentista se mudó a la plaza del mercado.
La abuela pone el doble de azúcar en el pastel de ciruelas.
El perro tiene miedo de los globos aerostáticos.
El alquiler se paga el día cinco de cada mes.
La escalera está prestada al vecino de abajo.
Las estacas de la tienda están en el bolsillo de la mochila gris.
Los tomates crecen mejor en el lado sur del balcón.
El carné de la biblioteca caduca en abril.
La pintura azul de la cocina se llama niebla del puerto.

¿Dónde cuelga la llave de repuesto?
¿Adónde se mudó el dentista?
¿Cuánto azúcar lleva el pastel de ciruelas?
¿De qué tiene miedo el perro?
¿Cuándo se paga el alquiler?
¿A quién está prestada la escalera?
¿Dónde están las estacas de la tienda?
¿Dónde crecen mejor los tomates?
¿Cuándo caduca el carné de la biblioteca?
¿Cómo se llama la pintura azul?

¿Quién pintó la Gioconda?
¿A qué distancia queda Neptuno?
¿Qué ciudad es capital de Brasil?
¿Quién ganó el campeonato de ajedrez?
¿Cómo vuelan los aviones?
¿Cuándo construyeron el primer ordenador?
¿Qué idioma hablan en Perú?
¿Por qué es salado el mar?
¿Cuántos dientes posee un tiburón?
¿Quién escribió Hamlet?
"""
LANGUAGES["polish"] = """
Zapasowy klucz wisi na gwoździu za wodomierzem.
Dentysta przeniósł się na rynek.
Babcia dodaje dwa razy więcej cukru do placka ze śliwkami.
Pies boi się balonów na gorące powietrze.
Czynsz płacimy piątego każdego miesiąca.
Drabina jest pożyczona sąsiadowi z dołu.
Śledzie do namiotu są w kieszeni szarego plecaka.
Pomidory rosną najlepiej po południowej stronie balkonu.
Karta biblioteczna traci ważność w kwietniu.
Niebieska farba w kuchni nazywa się mgła portowa.

Gdzie wisi zapasowy klucz?
Dokąd przeniósł się dentysta?
Ile cukru do placka ze śliwkami?
Czego boi się pies?
Kiedy płacimy czynsz?
Komu pożyczona jest drabina?
Gdzie są śledzie do namiotu?
Gdzie najlepiej rosną pomidory?
Kiedy karta biblioteczna traci ważność?
Jak nazywa się niebieska farba?

Kto namalował Mona Lisę?
Jak daleko leży Neptun?
Jakie miasto to stolica Brazylii?
Kto wygrał mistrzostwa szachowe?
Dlaczego samoloty latają?
Kiedy zbudowano pierwszy komputer?
Jakim językiem mówią Peruwiańczycy?
Dlaczego woda morska bywa słona?
Ile zębów ma rekin?
Kto napisał Hamleta?
"""
LANGUAGES["czech"] = """
Náhradní klíč visí na hřebíku za vodoměrem.
Zubař se přestěhoval na náměstí.
Babička dává do švestkového koláče dvakrát více cukru.
Pes se bojí horkovzdušných balónů.
Nájem se platí pátého každý měsíc.
Žebřík je půjčený sousedovi zdola.
Stanové kolíky jsou v kapse šedého batohu.
Rajčata rostou nejlépe na jižní straně balkonu.
Průkaz do knihovny končí v dubnu.
Modrá barva v kuchyni se jmenuje přístavní mlha.

Kde visí náhradní klíč?
Kam se přestěhoval zubař?
Kolik cukru patří do švestkového koláče?
Čeho se bojí pes?
Kdy se platí nájem?
Komu je půjčený žebřík?
Kde jsou stanové kolíky?
Kde nejlépe rostou rajčata?
Kdy končí průkaz do knihovny?
Jak se jmenuje modrá barva?

Kdo namaloval Monu Lisu?
Jak daleko leží Neptun?
Které město vládne Brazílii?
Kdo vyhrál šachový turnaj?
Proč letadla létají?
Kdy vznikl první počítač?
Jakým jazykem mluví Peruánci?
Proč bývá moře slané?
Kolik zubů má žralok?
Kdo napsal Hamleta?
"""
LANGUAGES["turkish"] = """
Yedek anahtar su sayacının arkasındaki çivide asılı.
Dişçi pazar meydanına taşındı.
Büyükanne erikli keke iki kat şeker koyuyor.
Köpek sıcak hava balonlarından korkuyor.
Kira her ayın beşinde ödeniyor.
Merdiven alt kattaki komşuya ödünç verildi.
Çadır kazıkları gri sırt çantasının cebinde.
Domatesler balkonun güney tarafında en iyi yetişir.
Kütüphane kartının süresi nisanda doluyor.
Mutfaktaki mavi boyanın adı liman sisi.

Yedek anahtar nerede asılı?
Dişçi nereye taşındı?
Erikli keke ne kadar şeker koyuyor?
Köpek neden korkuyor?
Kira ne zaman ödeniyor?
Merdiven kime ödünç verildi?
Çadır kazıkları nerede?
Domatesler en iyi nerede yetişir?
Kütüphane kartının süresi ne zaman doluyor?
Mavi boyanın adı ne?

Mona Lisa tablosunu kim yaptı?
Neptün Güneşten kaç kilometre uzakta?
Brezilya başkenti neresi?
Satranç şampiyonu kim oldu?
Uçaklar nasıl uçar?
İlk bilgisayar hangi yıl üretildi?
Perulular hangi dili konuşur?
Deniz niçin tuzludur?
Köpekbalığının kaç dişi var?
Hamlet oyununu kim yazdı?
"""
LANGUAGES["vietnamese"] = """
Chìa khóa dự phòng treo sau đồng hồ nước.
Nha sĩ đã chuyển đến quảng trường chợ.
Bà ngoại cho gấp đôi đường vào bánh mận.
Con chó sợ khinh khí cầu.
Tiền thuê nhà trả vào ngày mồng năm hằng tháng.
Cái thang cho người hàng xóm tầng dưới mượn.
Cọc lều nằm trong túi ba lô màu xám.
Cà chua mọc tốt nhất ở phía nam ban công.
Thẻ thư viện hết hạn vào tháng tư.
Sơn xanh trong bếp tên là sương cảng.

Chìa khóa dự phòng treo ở đâu?
Nha sĩ chuyển đến đâu?
Bánh mận cần bao nhiêu đường?
Con chó sợ gì?
Khi nào trả tiền thuê nhà?
Ai mượn cái thang?
Cọc lều nằm ở đâu?
Cà chua mọc tốt nhất ở đâu?
Khi nào thẻ thư viện hết hạn?
Sơn xanh tên là gì?

Ai vẽ bức Mona Lisa?
Sao Hải Vương cách mặt trời bao xa?
Thủ đô Brazil?
Ai vô địch cờ vua?
Vì sao máy bay bay được?
Máy tính đầu tiên chế tạo năm nào?
Người Peru nói ngôn ngữ gì?
Vì sao biển mặn?
Cá mập có mấy chiếc răng?
Ai viết Hamlet?
"""
LANGUAGES["finnish"] = """
Vara-avain roikkuu naulassa vesimittarin takana.
Hammaslääkäri muutti torin laidalle.
Mummo laittaa luumukakkuun kaksi kertaa enemmän sokeria.
Koira pelkää kuumailmapalloja.
Vuokra maksetaan kuun viidentenä päivänä.
Tikkaat on lainattu alakerran naapurille.
Teltan kiilat ovat harmaan repun taskussa.
Tomaatit kasvavat parhaiten parvekkeen eteläpuolella.
Kirjastokortti vanhenee huhtikuussa.
Keittiön sinisen maalin nimi on satamasumu.

Missä vara-avain roikkuu?
Mihin hammaslääkäri muutti?
Paljonko sokeria luumukakkuun?
Mitä koira pelkää?
Milloin vuokra maksetaan?
Kenelle tikkaat on lainattu?
Missä teltan kiilat ovat?
Missä tomaatit kasvavat parhaiten?
Milloin kirjastokortti vanhenee?
Mikä on sinisen maalin nimi?

Kuka maalasi Mona Lisan?
Kuinka kaukana Neptunus sijaitsee?
Brasilian pääkaupunki?
Kuka voitti shakkimestaruuden?
Miten lentokone lentää?
Koska ensimmäinen tietokone rakennettiin?
Mitä kieltä perulaiset puhuvat?
Miksi meri maistuu suolaiselta?
Montako hammasta hailla?
Kuka kirjoitti Hamletin?
"""
LANGUAGES["russian"] = """
Запасной ключ висит на гвозде за счётчиком воды.
Зубной врач переехал на рыночную площадь.
Бабушка кладёт в сливовый пирог вдвое больше сахара.
Собака боится воздушных шаров.
Аренду платим пятого числа каждого месяца.
Лестницу одолжили соседу снизу.
Колышки от палатки лежат в кармане серого рюкзака.
Помидоры лучше растут на южной стороне балкона.
Читательский билет истекает в апреле.
Синяя краска на кухне называется портовый туман.

Где висит запасной ключ?
Куда переехал зубной врач?
Сколько сахара в сливовый пирог?
Чего боится собака?
Когда платим аренду?
Кому одолжили лестницу?
Где лежат колышки от палатки?
Где лучше растут помидоры?
Когда истекает читательский билет?
Как называется синяя краска?

Кто написал Мону Лизу?
Как далеко Нептун?
Назови столицу Бразилии
Кто выиграл чемпионат по шахматам?
Почему летают самолёты?
Когда построили первый компьютер?
На каком языке говорят перуанцы?
Почему море солёное?
Сколько зубов имеет акула?
Кто автор Гамлета?
"""
LANGUAGES["ukrainian"] = """
Запасний ключ висить на цвяху за лічильником води.
Зубний лікар переїхав на ринкову площу.
Бабуся кладе у сливовий пиріг удвічі більше цукру.
Собака боїться повітряних куль.
Оренду платимо п'ятого числа щомісяця.
Драбину позичили сусідові знизу.
Кілочки від намету лежать у кишені сірого рюкзака.
Помідори найкраще ростуть на південному боці балкона.
Читацький квиток діє до квітня.
Синя фарба на кухні зветься портовий туман.

Де висить запасний ключ?
Куди переїхав зубний лікар?
Скільки цукру у сливовий пиріг?
Чого боїться собака?
Коли платимо оренду?
Кому позичили драбину?
Де лежать кілочки від намету?
Де найкраще ростуть помідори?
Доки діє читацький квиток?
Як зветься синя фарба?

Хто намалював Мону Лізу?
Як далеко Нептун від Сонця?
Назви столицю Бразилії
Хто виграв шаховий чемпіонат?
Чому літаки літають?
Хто збудував перший комп'ютер?
Якою мовою говорять перуанці?
Чому море солоне?
Скільки зубів має акула?
Хто автор Гамлета?
"""
LANGUAGES["greek"] = """
Το εφεδρικό κλειδί κρέμεται πίσω από το υδρόμετρο.
Ο οδοντίατρος μετακόμισε στην πλατεία της αγοράς.
Η γιαγιά βάζει διπλή ζάχαρη στο κέικ με δαμάσκηνα.
Ο σκύλος φοβάται τα αερόστατα.
Το ενοίκιο πληρώνεται στις πέντε κάθε μήνα.
Η σκάλα είναι δανεισμένη στον κάτω γείτονα.
Τα πασσαλάκια της σκηνής είναι στην τσέπη του γκρι σακιδίου.
Οι ντομάτες μεγαλώνουν καλύτερα στη νότια πλευρά του μπαλκονιού.
Η κάρτα της βιβλιοθήκης λήγει τον Απρίλιο.
Η μπλε μπογιά της κουζίνας λέγεται ομίχλη του λιμανιού.

Πού κρέμεται το εφεδρικό κλειδί;
Πού μετακόμισε ο οδοντίατρος;
Πόση ζάχαρη βάζει στο κέικ με δαμάσκηνα;
Τι φοβάται ο σκύλος;
Πότε πληρώνεται το ενοίκιο;
Σε ποιον είναι δανεισμένη η σκάλα;
Πού είναι τα πασσαλάκια της σκηνής;
Πού μεγαλώνουν καλύτερα οι ντομάτες;
Πότε λήγει η κάρτα της βιβλιοθήκης;
Πώς λέγεται η μπλε μπογιά;

Ποιος ζωγράφισε τη Μόνα Λίζα;
Πόσο μακριά βρίσκεται ο Ποσειδώνας;
Ποια πόλη είναι πρωτεύουσα της Βραζιλίας;
Ποιος κέρδισε το πρωτάθλημα σκάκι;
Πώς πετούν τα αεροπλάνα;
Πότε κατασκευάστηκε ο πρώτος υπολογιστής;
Ποια γλώσσα μιλούν στο Περού;
Γιατί η θάλασσα έχει αλάτι;
Πόσα δόντια έχει ένας καρχαρίας;
Ποιος έγραψε τον Άμλετ;
"""
LANGUAGES["hebrew"] = """
המפתח הרזרבי תלוי מאחורי מונה המים.
רופא השיניים עבר לכיכר השוק.
סבתא שמה כפול סוכר בעוגת השזיפים.
הכלב מפחד מכדורים פורחים.
שכר הדירה משולם בחמישי בכל חודש.
הסולם מושאל לשכן מלמטה.
יתדות האוהל נמצאות בכיס של התרמיל האפור.
עגבניות גדלות הכי טוב בצד הדרומי של המרפסת.
כרטיס הספרייה פג באפריל.
הצבע הכחול במטבח נקרא ערפל הנמל.

איפה תלוי המפתח הרזרבי?
לאן עבר רופא השיניים?
כמה סוכר בעוגת השזיפים?
ממה מפחד הכלב?
מתי משולם שכר הדירה?
למי מושאל הסולם?
איפה נמצאות יתדות האוהל?
איפה עגבניות גדלות הכי טוב?
מתי פג כרטיס הספרייה?
איך נקרא הצבע הכחול?

מי צייר את המונה ליזה?
מה המרחק לנפטון?
מהי בירת ברזיל?
מי ניצח באליפות השחמט?
איך מטוסים טסים?
מתי נבנה המחשב הראשון?
איזו שפה מדברים בפרו?
מדוע הים מלוח?
כמה שיניים יש לכריש?
מי כתב את המלט?
"""
LANGUAGES["arabic"] = """
المفتاح الاحتياطي معلق خلف عداد الماء.
انتقل طبيب الأسنان إلى ساحة السوق.
تضع الجدة ضعف السكر في كعكة البرقوق.
الكلب يخاف من المناطيد.
يُدفع الإيجار في الخامس من كل شهر.
السلم معار للجار في الأسفل.
أوتاد الخيمة في جيب الحقيبة الرمادية.
تنمو الطماطم أفضل في الجانب الجنوبي من الشرفة.
تنتهي بطاقة المكتبة في أبريل.
الطلاء الأزرق في المطبخ اسمه ضباب الميناء.

أين المفتاح الاحتياطي معلق؟
إلى أين انتقل طبيب الأسنان؟
كم السكر في كعكة البرقوق؟
من ماذا يخاف الكلب؟
متى يدفع الايجار؟
لمن السلم معار؟
أين أوتاد الخيمة؟
أين تنمو الطماطم أفضل؟
متى تنتهي بطاقة المكتبة؟
ما اسم الطلاء الازرق؟

من رسم الموناليزا؟
كم يبعد نبتون عن الشمس؟
ما عاصمة البرازيل؟
من فاز ببطولة الشطرنج؟
كيف تطير الطائرات؟
متى صنع أول حاسوب؟
ما لغة أهل بيرو؟
لماذا البحر مالح؟
كم سنا لسمكة القرش؟
من كتب هاملت؟
"""
LANGUAGES["persian"] = """
کلید یدکی پشت کنتور آب آویزان است.
دندان‌پزشک به میدان بازار رفته است.
مادربزرگ در کیک آلو دو برابر شکر می‌ریزد.
سگ از بالن می‌ترسد.
اجاره پنجم هر ماه پرداخت می‌شود.
نردبان را به همسایه پایین قرض داده‌ایم.
میخ‌های چادر در جیب کوله خاکستری است.
گوجه‌فرنگی در ضلع جنوبی بالکن بهتر رشد می‌کند.
کارت کتابخانه در آوریل تمام می‌شود.
رنگ آبی آشپزخانه مه بندر نام دارد.

کلید یدکی کجا آویزان است؟
دندان‌پزشک کجا رفته است؟
در کیک آلو چقدر شکر می‌ریزد؟
سگ از چه می‌ترسد؟
اجاره چه وقت پرداخت می‌شود؟
نردبان را به چه کسی قرض داده‌ایم؟
میخ‌های چادر کجاست؟
گوجه‌فرنگی کجا بهتر رشد می‌کند؟
کارت كتابخانه كی تمام می‌شود؟
رنگ آبی چه نام دارد؟

مونالیزا اثر کیست؟
فاصله نپتون تا خورشید؟
پایتخت برزیل؟
قهرمان شطرنج کیست؟
هواپیما چگونه پرواز می‌کند؟
نخستین رایانه چه سالی ساخته شد؟
زبان مردم پرو چیست؟
چرا دریا شور است؟
کوسه چند دندان دارد؟
نویسنده هملت کیست؟
"""
LANGUAGES["hindi"] = """
अतिरिक्त चाबी पानी के मीटर के पीछे टंगी है।
दंत चिकित्सक बाज़ार चौक में चले गए हैं।
दादी आलूबुखारे के केक में दुगुनी चीनी डालती हैं।
कुत्ता गरम हवा के गुब्बारों से डरता है।
किराया हर महीने की पाँच तारीख को दिया जाता है।
सीढ़ी नीचे वाले पड़ोसी को उधार दी है।
तंबू की खूँटियाँ भूरे बस्ते की जेब में हैं।
टमाटर बालकनी के दक्षिणी किनारे पर सबसे अच्छे उगते हैं।
पुस्तकालय का कार्ड अप्रैल में समाप्त होता है।
रसोई के नीले रंग का नाम बंदरगाह की धुंध है।

अतिरिक्त चाबी कहाँ टंगी है?
दंत चिकित्सक कहाँ चले गए?
केक में कितनी चीनी डालती हैं?
कुत्ता किससे डरता है?
किराया कब दिया जाता है?
सीढ़ी किसको उधार दी है?
तंबू की खूँटियाँ कहाँ हैं?
टमाटर कहाँ सबसे अच्छे उगते हैं?
पुस्तकालय का कार्ड कब समाप्त होता है?
नीले रंग का नाम क्या है?

मोना लिसा किसने बनाई?
वरुण ग्रह सूर्य से कितनी दूर?
ब्राज़ील की राजधानी बताओ
शतरंज प्रतियोगिता किसने जीती?
हवाई जहाज कैसे उड़ते?
पहला कंप्यूटर कब बना?
पेरू में कौन सी भाषा बोलते?
समुद्र खारा क्यों?
शार्क के कितने दाँत?
हैमलेट किसने लिखा?
"""
LANGUAGES["bengali"] = """
অতিরিক্ত চাবি জলের মিটারের পেছনে ঝোলে।
দাঁতের ডাক্তার বাজার চত্বরে চলে গেছেন।
ঠাকুমা আলুবোখারার কেকে দ্বিগুণ চিনি দেন।
কুকুর গরম বাতাসের বেলুনকে ভয় পায়।
ভাড়া প্রতি মাসের পাঁচ তারিখে দেওয়া হয়।
মই নিচের প্রতিবেশীকে ধার দেওয়া আছে।
তাঁবুর খুঁটি ধূসর ব্যাগের পকেটে আছে।
টমেটো বারান্দার দক্ষিণ দিকে সবচেয়ে ভালো জন্মায়।
গ্রন্থাগারের কার্ডের মেয়াদ এপ্রিলে শেষ হয়।
রান্নাঘরের নীল রঙের নাম বন্দরের কুয়াশা।

অতিরিক্ত চাবি কোথায় ঝোলে?
দাঁতের ডাক্তার কোথায় চলে গেছেন?
আলুবোখারার কেকে কত চিনি দেন?
কুকুর কাকে ভয় পায়?
ভাড়া কবে দেওয়া হয়?
মই কাকে ধার দেওয়া আছে?
তাঁবুর খুঁটি কোথায়?
টমেটো কোথায় সবচেয়ে ভালো জন্মায়?
গ্রন্থাগারের কার্ডের মেয়াদ কবে শেষ হয়?
নীল রঙের নাম কী?

মোনালিসা কে এঁকেছেন?
নেপচুন সূর্য থেকে কত দূরে?
ব্রাজিলের রাজধানী কী?
দাবা প্রতিযোগিতা কে জিতেছে?
বিমান কীভাবে ওড়ে?
প্রথম কম্পিউটার কবে তৈরি?
পেরুর মানুষ কোন ভাষা বলে?
সমুদ্র লবণাক্ত কেন?
হাঙরের কটা দাঁত?
হ্যামলেট কে লিখেছেন?
"""
LANGUAGES["tamil"] = """
உதிரி சாவி நீர் அளவிக்கு பின்னால் தொங்குகிறது.
பல் மருத்துவர் சந்தை சதுக்கத்திற்கு மாறிவிட்டார்.
பாட்டி கேக்கில் இரு மடங்கு சர்க்கரை போடுவார்.
நாய் வெப்பக்காற்று பலூன்களுக்கு பயப்படும்.
வாடகை ஒவ்வொரு மாதமும் ஐந்தாம் தேதி கட்டப்படும்.
ஏணி கீழ் வீட்டுக்காரருக்கு கடனாக கொடுத்துள்ளோம்.
கூடார முளைகள் சாம்பல் பையின் உறையில் உள்ளன.
தக்காளி பால்கனியின் தெற்கு பக்கத்தில் நன்றாக வளரும்.
நூலக அட்டை ஏப்ரலில் காலாவதியாகும்.
சமையலறை நீல வண்ணத்தின் பெயர் துறைமுக மூடுபனி.

உதிரி சாவி எங்கே தொங்குகிறது?
பல் மருத்துவர் எங்கே மாறிவிட்டார்?
கேக்கில் எவ்வளவு சர்க்கரை போடுவார்?
நாய் எதற்கு பயப்படும்?
வாடகை எப்போது கட்டப்படும்?
ஏணி யாருக்கு கடனாக கொடுத்துள்ளோம்?
கூடார முளைகள் எங்கே உள்ளன?
தக்காளி எங்கே நன்றாக வளரும்?
நூலக அட்டை எப்போது காலாவதியாகும்?
நீல வண்ணத்தின் பெயர் என்ன?

மோனா லிசாவை வரைந்தது யார்?
நெப்டியூன் எவ்வளவு தொலைவு?
பிரேசிலின் தலைநகரம் எது?
சதுரங்க போட்டியில் வென்றது யார்?
விமானம் எப்படி பறக்கிறது?
முதல் கணினி எந்த ஆண்டு உருவானது?
பெருவில் எந்த மொழி பேசுவர்?
கடல் ஏன் உப்பாக இருக்கிறது?
சுறாவின் பற்கள் எத்தனை?
ஹாம்லெட் எழுதியவர் யார்?
"""
LANGUAGES["georgian"] = """
სათადარიგო გასაღები წყლის მრიცხველის უკან კიდია.
კბილის ექიმი ბაზრის მოედანზე გადავიდა.
ბებია ქლიავის ნამცხვარში ორმაგ შაქარს ყრის.
ძაღლს ჰაეროპლანის ბუშტების ეშინია.
ქირას ყოველი თვის ხუთში ვიხდით.
კიბე ქვედა მეზობელს ვათხოვეთ.
კარვის პალოები ნაცრისფერი ზურგჩანთის ჯიბეშია.
პომიდორი აივნის სამხრეთ მხარეს უკეთ იზრდება.
ბიბლიოთეკის ბარათი აპრილში იწურება.
სამზარეულოს ლურჯ საღებავს ნავსადგურის ნისლი ჰქვია.

სად კიდია სათადარიგო გასაღები?
სად გადავიდა კბილის ექიმი?
რამდენ შაქარს ყრის ქლიავის ნამცხვარში?
რისი ეშინია ძაღლს?
როდის ვიხდით ქირას?
ვის ვათხოვეთ კიბე?
სად არის კარვის პალოები?
სად იზრდება უკეთ პომიდორი?
როდის იწურება ბიბლიოთეკის ბარათი?
რა ჰქვია ლურჯ საღებავს?

ვინ დახატა მონა ლიზა?
რა მანძილია ნეპტუნამდე?
ბრაზილიის დედაქალაქი?
ვინ მოიგო ჭადრაკის ჩემპიონატი?
როგორ დაფრინავენ თვითმფრინავები?
პირველი კომპიუტერი ვინ შექმნა?
რომელ ენაზე ლაპარაკობენ პერუში?
რატომაა ზღვა მარილიანი?
რამდენი კბილი აქვს ზვიგენს?
ვინ დაწერა ჰამლეტი?
"""
LANGUAGES["armenian"] = """
Պահեստային բանալին կախված է ջրաչափի հետևում։
Ատամնաբույժը տեղափոխվել է շուկայի հրապարակ։
Տատիկը սալորի տորթի մեջ կրկնակի շաքար է լցնում։
Շունը վախենում է օդապարիկներից։
Վարձը վճարում ենք ամեն ամսի հինգին։
Սանդուղքը պարտքով տված է ներքևի հարևանին։
Վրանի ցցերը մոխրագույն ուսապարկի գրպանում են։
Լոլիկը ավելի լավ աճում է պատշգամբի հարավային կողմում։
Գրադարանի քարտի ժամկետը լրանում է ապրիլին։
Խոհանոցի կապույտ ներկը կոչվում է նավահանգստի մշուշ։

Որտե՞ղ է կախված պահեստային բանալին։
Ո՞ւր է տեղափոխվել ատամնաբույժը։
Որքա՞ն շաքար է լցնում սալորի տորթի մեջ։
Ինչի՞ց է վախենում շունը։
Ե՞րբ ենք վճարում վարձը։
Ո՞ւմ է պարտքով տված սանդուղքը։
Որտե՞ղ են վրանի ցցերը։
Որտե՞ղ է լավ աճում լոլիկը։
Ե՞րբ է լրանում գրադարանի քարտի ժամկետը։
Ինչպե՞ս է կոչվում կապույտ ներկը։

Ո՞վ նկարեց Մոնա Լիզան։
Որքա՞ն հեռու Նեպտունը։
Բրազիլիայի մայրաքաղաքը ո՞րն է։
Ո՞վ հաղթեց շախմատի առաջնությունում։
Ինչպե՞ս թռչում ինքնաթիռները։
Առաջին համակարգիչը ե՞րբ ստեղծվեց։
Ի՞նչ լեզվով խոսում Պերուում։
Ինչո՞ւ ծովը աղի։
Քանի՞ ատամ ունի շնաձուկը։
Ո՞վ գրեց Համլետը։
"""
LANGUAGES["amharic"] = """
ትርፍ ቁልፍ ከውሃ ቆጣሪው ጀርባ ተሰቅሏል።
የጥርስ ሐኪሙ ወደ ገበያ አደባባይ ተዛወረ።
አያቴ በኬኩ ውስጥ እጥፍ ስኳር ትጨምራለች።
ውሻው የአየር ፊኛዎችን ይፈራል።
ኪራይ በየወሩ በአምስተኛው ቀን ይከፈላል።
መሰላሉ ለታችኛው ጎረቤት ተውሷል።
የድንኳን ካስማዎች በግራጫ ቦርሳ ኪስ ውስጥ ናቸው።
ቲማቲም በሰገነቱ ደቡብ በኩል በደንብ ይበቅላል።
የቤተመጻሕፍት ካርድ በሚያዝያ ያበቃል።
የኩሽናው ሰማያዊ ቀለም የወደብ ጭጋግ ይባላል።

ትርፍ ቁልፍ የት ተሰቅሏል?
የጥርስ ሐኪሙ የት ተዛወረ?
በኬኩ ውስጥ ምን ያህል ስኳር ትጨምራለች?
ውሻው ምን ይፈራል?
ኪራይ መቼ ይከፈላል?
መሰላሉ ለማን ተውሷል?
የድንኳን ካስማዎች የት ናቸው?
ቲማቲም የት በደንብ ይበቅላል?
የቤተመጻሕፍት ካርድ መቼ ያበቃል?
ሰማያዊ ቀለም ምን ይባላል?

ሞና ሊዛን ማን ሳለ?
ኔፕቱን ከፀሐይ ርቀቱ ስንት?
የብራዚል ዋና ከተማ?
የቼዝ ውድድር ማን አሸነፈ?
አውሮፕላን እንዴት ይበራል?
የመጀመሪያው ኮምፒውተር ማን ሠራ?
ፔሩ ውስጥ ምን ቋንቋ ይነገራል?
ባሕር ለምን ጨዋማ ሆነ?
ሻርክ ስንት ጥርሶች አሉት?
ሐምሌትን ማን ጻፈ?
"""
LANGUAGES["thai"] = """
กุญแจสำรองแขวนอยู่หลังมิเตอร์น้ำ
หมอฟันย้ายไปที่จัตุรัสตลาด
คุณยายใส่น้ำตาลสองเท่าในเค้กลูกพลัม
สุนัขกลัวบอลลูน
ค่าเช่าจ่ายวันที่ห้าของทุกเดือน
บันไดให้เพื่อนบ้านชั้นล่างยืม
สมอบกเต็นท์อยู่ในกระเป๋าเป้สีเทา
มะเขือเทศโตดีที่สุดทางทิศใต้ของระเบียง
บัตรห้องสมุดหมดอายุเดือนเมษายน
สีฟ้าในครัวชื่อหมอกท่าเรือ

กุญแจสำรองแขวนอยู่ที่ไหน
หมอฟันย้ายไปที่ไหน
คุณยายใส่น้ำตาลเท่าไร
สุนัขกลัวอะไร
ค่าเช่าจ่ายวันไหน
ใครยืมบันได
สมอบกเต็นท์อยู่ที่ไหน
มะเขือเทศโตดีที่ไหน
บัตรห้องสมุดหมดอายุเมื่อไร
สีฟ้าชื่ออะไร

ใครวาดโมนาลิซา
ดาวเนปจูนห่างไกลแค่ไหน
เมืองหลวงของบราซิล
ใครชนะหมากรุก
เครื่องบินบินได้อย่างไร
คอมพิวเตอร์เครื่องแรกสร้างเมื่อไร
ชาวเปรูพูดภาษาอะไร
ทำไมทะเลเค็ม
ฉลามมีฟันกี่ซี่
ใครเขียนแฮมเล็ต
"""
LANGUAGES["lao"] = """
ກະແຈສຳຮອງຫ້ອຍຢູ່ຫຼັງໝໍ້ນ້ຳ
ໝໍປົວແຂ້ວຍ້າຍໄປຢູ່ຕະຫຼາດ
ແມ່ຕູ້ໃສ່ນ້ຳຕານສອງເທົ່າໃນເຄັກ
ໝາຢ້ານບານລູນ
ຄ່າເຊົ່າຈ່າຍວັນທີຫ້າຂອງທຸກເດືອນ
ຂັ້ນໄດໃຫ້ເພື່ອນບ້ານຊັ້ນລຸ່ມຢືມ
ຫຼັກເຕັ້ນຢູ່ໃນຖົງເປ້ສີເທົາ
ໝາກເລັ່ນໃຫຍ່ດີທາງທິດໃຕ້ຂອງລະບຽງ
ບັດຫໍສະໝຸດໝົດອາຍຸເດືອນເມສາ
ສີຟ້າໃນຄົວຊື່ໝອກທ່າເຮືອ

ກະແຈສຳຮອງຫ້ອຍຢູ່ໃສ
ໝໍປົວແຂ້ວຍ້າຍໄປໃສ
ແມ່ຕູ້ໃສ່ນ້ຳຕານເທົ່າໃດ
ໝາຢ້ານຫຍັງ
ຄ່າເຊົ່າຈ່າຍວັນໃດ
ໃຜຢືມຂັ້ນໄດ
ຫຼັກເຕັ້ນຢູ່ໃສ
ໝາກເລັ່ນໃຫຍ່ດີຢູ່ໃສ
ບັດຫໍສະໝຸດໝົດອາຍຸເມື່ອໃດ
ສີຟ້າຊື່ຫຍັງ

ໃຜແຕ້ມໂມນາລິຊາ
ດາວເນບຈູນໄກປານໃດ
ນະຄອນຫຼວງຂອງບຣາຊິນ
ໃຜຊະນະໝາກຮຸກ
ຍົນບິນໄດ້ແນວໃດ
ຄອມພິວເຕີເຄື່ອງທຳອິດ
ຄົນເປຣູເວົ້າພາສາຫຍັງ
ເປັນຫຍັງທະເລເຄັມ
ປາສະຫຼາມມີແຂ້ວຈັກເຫຼັ້ມ
ໃຜຂຽນແຮມເລັດ
"""
LANGUAGES["khmer"] = """
កូនសោបម្រុងព្យួរនៅក្រោយនាឡិកាទឹក
ទន្តពេទ្យបានផ្លាស់ទៅទីលានផ្សារ
លោកយាយដាក់ស្ករពីរដងក្នុងនំផ្លែព្រូន
ឆ្កែខ្លាចបាឡុងខ្យល់ក្តៅ
ថ្លៃជួលបង់នៅថ្ងៃទីប្រាំរាល់ខែ
ជណ្តើរបានឱ្យអ្នកជិតខាងជាន់ក្រោមខ្ចី
បង្គោលតង់នៅក្នុងហោប៉ៅកាបូបពណ៌ប្រផេះ
ប៉េងប៉ោះដុះល្អបំផុតនៅខាងត្បូងយ៉រ
កាតបណ្ណាល័យផុតកំណត់នៅខែមេសា
ថ្នាំលាបខៀវក្នុងផ្ទះបាយឈ្មោះអ័ព្ទកំពង់ផែ

កូនសោបម្រុងព្យួរនៅឯណា
ទន្តពេទ្យបានផ្លាស់ទៅណា
លោកយាយដាក់ស្ករប៉ុន្មាន
ឆ្កែខ្លាចអ្វី
ថ្លៃជួលបង់នៅពេលណា
អ្នកណាខ្ចីជណ្តើរ
បង្គោលតង់នៅឯណា
ប៉េងប៉ោះដុះល្អនៅឯណា
កាតបណ្ណាល័យផុតកំណត់ពេលណា
ថ្នាំលាបខៀវឈ្មោះអ្វី

តើនរណាគូរម៉ូណាលីសា
ភពណិបទូនឆ្ងាយប៉ុនណា
រដ្ឋធានីប្រេស៊ីល
នរណាឈ្នះអុក
យន្តហោះហើរយ៉ាងម៉េច
កុំព្យូទ័រដំបូងគេ
ជនជាតិប៉េរូនិយាយភាសាអ្វី
ហេតុអ្វីសមុទ្រប្រៃ
ត្រីឆ្លាមមានធ្មេញប៉ុន្មាន
នរណាសរសេរហាំឡេត
"""
LANGUAGES["burmese"] = """
အပိုသော့ကို ရေမီတာနောက်မှာ ချိတ်ထားတယ်။
သွားဆရာဝန်က ဈေးရင်ပြင်ကို ပြောင်းသွားတယ်။
အဘွားက ဇီးသီးကိတ်ထဲ သကြားနှစ်ဆ ထည့်တယ်။
ခွေးက မီးပုံးပျံကို ကြောက်တယ်။
အိမ်လခကို လတိုင်း ငါးရက်နေ့မှာ ပေးတယ်။
လှေကားကို အောက်ထပ်အိမ်နီးချင်းဆီ ငှားထားတယ်။
တဲတိုင်တွေက မီးခိုးရောင်ကျောပိုးအိတ်ထဲမှာ ရှိတယ်။
ခရမ်းချဉ်သီးက ဝရန်တာတောင်ဘက်မှာ အကောင်းဆုံးပေါက်တယ်။
စာကြည့်တိုက်ကတ်က ဧပြီလမှာ သက်တမ်းကုန်တယ်။
မီးဖိုချောင်က အပြာရောင်ဆေးရဲ့နာမည်က ဆိပ်ကမ်းမြူ။

အပိုသော့ကို ဘယ်မှာ ချိတ်ထားလဲ။
သွားဆရာဝန်က ဘယ်ကို ပြောင်းသွားလဲ။
ဇီးသီးကိတ်ထဲ သကြားဘယ်လောက် ထည့်လဲ။
ခွေးက ဘာကို ကြောက်လဲ။
အိမ်လခကို ဘယ်နေ့မှာ ပေးလဲ။
လှေကားကို ဘယ်သူ့ဆီ ငှားထားလဲ။
တဲတိုင်တွေက ဘယ်မှာ ရှိလဲ။
ခရမ်းချဉ်သီးက ဘယ်မှာ အကောင်းဆုံးပေါက်လဲ။
စာကြည့်တိုက်ကတ်က ဘယ်တော့ သက်တမ်းကုန်လဲ။
အပြာရောင်ဆေးရဲ့နာမည်က ဘာလဲ။

မိုနာလီဇာ ပန်းချီ ဘယ်သူဆွဲသလဲ။
နက်ပကျွန်းဂြိုဟ် ဘယ်လောက်ဝေးသလဲ။
ဘရာဇီး မြို့တော်။
စစ်တုရင် ပြိုင်ပွဲ ဘယ်သူနိုင်သလဲ။
လေယာဉ်ပျံ ဘယ်လိုပျံသလဲ။
ပထမဆုံး ကွန်ပျူတာ။
ပီရူးလူမျိုး ဘာသာစကား။
ပင်လယ်ရေ ဘာကြောင့်ငန်သလဲ။
ငါးမန်း အစွယ် ဘယ်နှချောင်း။
ဟမ်းလက် ပြဇာတ် ဘယ်သူရေးသလဲ။
"""
LANGUAGES["chinese"] = """
备用钥匙挂在水表后面的钉子上。
牙医搬到了市场广场。
奶奶做李子蛋糕放两倍的糖。
小狗害怕热气球。
房租每月五号支付。
梯子借给了楼下的邻居。
帐篷钉在灰色背包的口袋里。
西红柿在阳台南边长得最好。
图书证四月到期。
厨房墙上的蓝色油漆叫港口之雾。

备用钥匙挂在哪里？
牙医搬到了哪里？
李子蛋糕放多少糖？
小狗害怕什么？
房租什么时候支付？
梯子借给了谁？
帐篷钉在哪里？
西红柿在哪里长得最好？
图书证什么时候到期？
蓝色油漆叫什么？

谁画了蒙娜丽莎？
海王星离太阳多远？
巴西的首都是哪座城市？
谁赢得了国际象棋冠军？
飞机为什么会飞？
第一台计算机何时制造？
秘鲁人说什么语言？
海水为什么是咸的？
鲨鱼有几颗牙？
哈姆雷特的作者是谁？
"""
LANGUAGES["traditional chinese"] = """
備用鑰匙掛在水錶後面的釘子上。
牙醫搬到了市場廣場。
奶奶做李子蛋糕放兩倍的糖。
小狗害怕熱氣球。
房租每月五號支付。
梯子借給了樓下的鄰居。
帳篷釘在灰色背包的口袋裡。
番茄在陽台南邊長得最好。
圖書證四月到期。
廚房牆上的藍色油漆叫港口之霧。

備用鑰匙掛在哪裡？
牙醫搬到了哪裡？
李子蛋糕放多少糖？
小狗害怕什麼？
房租什麼時候支付？
梯子借給了誰？
帳篷釘在哪裡？
番茄在哪裡長得最好？
圖書證什麼時候到期？
藍色油漆叫什麼？

誰畫了蒙娜麗莎？
海王星離太陽多遠？
巴西的首都是哪座城市？
誰贏得了國際象棋冠軍？
飛機為什麼會飛？
第一台電腦何時製造？
秘魯人說什麼語言？
海水為什麼是鹹的？
鯊魚有幾顆牙？
哈姆雷特的作者是誰？
"""
LANGUAGES["japanese"] = """
合鍵は水道メーターの裏の釘に掛けてある。
歯医者は市場の広場に引っ越した。
祖母は梅のケーキに砂糖を二倍入れる。
犬は熱気球を怖がる。
家賃は毎月五日に払う。
はしごは下の階の人に貸してある。
テントの杭は灰色のリュックのポケットにある。
トマトはベランダの南側でよく育つ。
図書館のカードは四月に切れる。
台所の青いペンキは港の霧という名前だ。

合鍵はどこに掛けてありますか
歯医者はどこに引っ越しましたか
ケーキに砂糖をどのくらい入れますか
犬は何を怖がりますか
家賃はいつ払いますか
はしごは誰に貸してありますか
テントの杭はどこですか
トマトはどこでよく育ちますか
図書館のカードはいつ切れますか
青いペンキの名前は何ですか

モナリザを描いた画家は
海王星まで何キロ
ブラジルの首都
将棋の名人は誰
飛行機が飛べる理由
最初の計算機
ペルー人の言語
海水が塩辛いわけ
サメの歯は何本
ハムレットの作者
"""
LANGUAGES["korean"] = """
예비 열쇠는 수도 계량기 뒤 못에 걸려 있다.
치과 의사가 시장 광장으로 이사했다.
할머니는 자두 케이크에 설탕을 두 배 넣으신다.
강아지는 열기구를 무서워한다.
월세는 매달 오일에 낸다.
사다리는 아래층 이웃에게 빌려주었다.
텐트 말뚝은 회색 배낭 주머니에 있다.
토마토는 발코니 남쪽에서 가장 잘 자란다.
도서관 카드는 사월에 만료된다.
부엌의 파란 페인트 이름은 항구의 안개다.

예비 열쇠는 어디에 걸려 있나요?
치과 의사는 어디로 이사했나요?
자두 케이크에 설탕을 얼마나 넣으시나요?
강아지는 무엇을 무서워하나요?
월세는 언제 내나요?
사다리는 누구에게 빌려주었나요?
텐트 말뚝은 어디에 있나요?
토마토는 어디에서 잘 자라나요?
도서관 카드는 언제 만료되나요?
파란 페인트의 이름은 무엇인가요?

모나리자를 그린 화가는?
해왕성까지 거리는?
브라질의 수도는?
체스 대회 우승자는?
비행기가 나는 원리는?
최초의 컴퓨터는?
페루 사람들의 언어는?
바닷물이 짠 까닭은?
상어 이빨 개수는?
햄릿의 작가는?
"""
LANGUAGES["korean without spaces"] = """
예비열쇠는수도계량기뒤못에걸려있다
치과의사가시장광장으로이사했다
할머니는자두케이크에설탕을두배넣으신다
강아지는열기구를무서워한다
월세는매달오일에낸다
사다리는아래층이웃에게빌려주었다
텐트말뚝은회색배낭주머니에있다
토마토는발코니남쪽에서가장잘자란다
도서관카드는사월에만료된다
부엌의파란페인트이름은항구의안개다

예비열쇠는어디에걸려있나요
치과의사는어디로이사했나요
자두케이크에설탕을얼마나넣으시나요
강아지는무엇을무서워하나요
월세는언제내나요
사다리는누구에게빌려주었나요
텐트말뚝은어디에있나요
토마토는어디에서잘자라나요
도서관카드는언제만료되나요
파란페인트의이름은무엇인가요

모나리자를그린화가는
해왕성까지거리는
브라질의수도는
체스대회우승자는
비행기가나는원리는
최초의컴퓨터는
페루사람들의언어는
바닷물이짠까닭은
상어이빨개수는
햄릿의작가는
"""
LANGUAGES["emoji"] = """
🔑🚰
🦷🛒
👵🍰
🐶🎈
🏠💶
🪜👇
⛺🎒
🍅☀️
📚💳
🎨⚓

🔑
🦷
🍰
🐶
💶
🪜
⛺
🍅
📚
🎨

🖼️
🪐
🇧🇷
♟️
✈️
💻
🦙
🌊
🦈
🎭
"""
LANGUAGES["mixed"] = """
Der Backup-Server heißt nas02 und steht im Keller 🖥️.
Митинг с командой 東京 каждый вторник в 9:00.
密码管理器用的是 Bitwarden，主密码在保险箱。
Réunion avec Özlem: le budget ﬁnal est signé.
배포 checklist는 staging에서 먼저 확인한다.
Η Zoë αγόρασε ένα MacBook για το γραφείο.
कार की service मारुति workshop में होती है।
الواي فاي password مكتوب خلف router.
コーヒー豆は Kaffeehaus の Ｍｏｃｃａ ブレンド。
ใช้ VPN ตอนทำงานที่ café นอกบ้าน

Wo steht der Backup-Server?
Когда митинг с командой 東京?
密码管理器用的是什么？
Le budget final est-il signé?
배포 checklist는 어디에서 확인하나요?
Τι αγόρασε η Zoe;
कार की service कहाँ होती है?
أين password الواي فاي؟
コーヒー豆は Mocca ですか
ใช้ VPN ตอนไหน

Wer malte die Mona Lisa?
Сколько зубов имеет акула?
海王星离太阳多远？
Quelle langue parle-t-on au Pérou ?
상어 이빨 개수는?
Πώς πετούν τα αεροπλάνα;
समुद्र खारा क्यों?
لماذا البحر مالح؟
サメの歯は何本
ฉลามมีฟันกี่ซี่
"""


def parts(language: str) -> tuple[list[str], list[str], list[str]]:
    """Notes, questions about them in the same order, and questions that nothing answers."""
    notes, asked, strange = (
        part.splitlines() for part in LANGUAGES[language].strip().split("\n\n")
    )
    return notes, asked, strange
