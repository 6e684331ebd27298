"""What a message wants: patterns in both languages, tried in a fixed order."""

from __future__ import annotations

import re
from enum import StrEnum


class Intent(StrEnum):
    """What the person wants."""

    greet = "greet"
    thank = "thank"
    help = "help"
    confirm = "confirm"
    decline = "decline"
    pick = "pick"
    more = "more"
    start = "start"
    stop = "stop"
    resume = "resume"
    fix = "fix"
    result = "result"
    why = "why"
    status = "status"
    list_runs = "list_runs"
    compare_runs = "compare_runs"
    change = "change"
    see_machine = "see_machine"
    see_model = "see_model"
    see_data = "see_data"
    list_files = "list_files"
    estimate = "estimate"
    trouble = "trouble"
    paste = "paste"
    read_log = "read_log"
    migrate = "migrate"
    tune = "tune"
    tell = "tell"
    check = "check"
    ask = "ask"


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_END = r"[\s。.!！~～,，吧啊呀呢哦的了嘛哈啦咯]*$"

QUESTION = _any(
    r"[?？]\s*$",
    r"[吗么呢]\s*[?？。]?\s*$",
    r"什么|怎么|如何|为什么|为啥|为何|多少|多大|多久|哪[个些种里]|是否|能不能|能否|可不可以|要不要|该不该|是不是|有没有|会不会|区别|还是|几[张块个步轮台天]|啥",
    r"^\s*(?:what|how|why|which|when|where|who|should|can|could|is|are|does|do|did|will|would|may|must)\b",
    r"\b(?:what'?s|how'?s|what is|what are|difference between)\b",
)
POLITE = _any(
    r"(?:能不能|能否|可不可以|可以|麻烦|请|帮我|帮忙|替我)(?!.*(?:什么|为什么|怎么|如何|多少))",
    r"\b(?:can|could|would|will) you\b(?! explain| tell)",
    r"\bplease\b",
    r"\b(?:i want|i'd like|let'?s|(?<!do )(?<!should )i need)\b",
    r"我(?:想|要)",
    r"(?:好不好|行不行|行吗|可以吗|好吗)\s*[?？]?\s*$",
)
DEFINING = _any(
    r"什么是|是啥|是什么(?!意思)|的?定义|原理|区别|有什么(?:用|不同|好处)|什么时候|讲讲|介绍|解释(?:一下)?",
    r"\b(?:what is|what are|what's|define|difference between|explain|how does|what does .* do|when should)\b",
)
GREET = _any(
    rf"^\s*(?:hi|hello|hey|hiya|yo|good (?:morning|afternoon|evening)|你好|您好|嗨|哈喽|哈啰|早|早上好|下午好|晚上好|在吗|在么)(?:\s*(?:there|tutor|导师|老师))?{_END}"
)
THANK = _any(
    rf"^\s*(?:非常|太|十分)?(?:谢谢|多谢|感谢|谢了|辛苦了?|thanks?(?: you)?|thx|ty|cheers|much appreciated)(?:\s*(?:a lot|so much|very much|你|您|老师|导师|大佬))?{_END}",
    rf"^\s*(?:太好了|太棒了|很好|不错|厉害|赞|great|awesome|nice|perfect|cool|excellent|wonderful|well done)(?:\s*(?:job|work|谢谢|thanks))?{_END}",
)
HELP = _any(
    r"(?:你|您|这个?(?:工具|软件|程序|agent)?)\s*(?:都|还)?(?:能|可以|会)\s*(?:为我|帮我)?\s*(?:做|干|帮)\s*(?:些|点)?(?:什么|啥|我什么|我做什么)",
    r"你是谁|你是什么|怎么(?:使)?用(?:你|这个|它)?\s*[?？]?$|使用(?:说明|方法|帮助)|有(?:什么|哪些)功能|^\s*(?:帮助|功能)\s*[?？]?$",
    r"从哪(?:里|儿)?(?:开始|入手)|(?:怎么|如何)(?:开始|入门|上手)|新手|不知道(?:从|怎么|该)",
    r"^\s*(?:/?help|\?|usage)\s*[!?.]*$",
    r"what can (?:you|i) (?:do|ask)|who are you|what are you\b|how (?:do i|to) (?:use (?:this|you)|start|begin|get started)|where (?:do|should) i (?:start|begin)|"
    r"how does this work|getting started|i'?m new",
)
CONFIRM = _any(
    rf"^\s*(?:嗯+|好+|好的|行|可以|对|是|是的|没错|没问题|确认|同意|就这样|就这么办|来|干|走起|要|需要|当然|没有问题|同意|批准|ok|okay|okey|yes|yeah|yep|yup|sure|y|please do|go ahead|do it|do that|sounds good|"
    rf"looks good|lgtm|agreed|right|correct|fine|of course|absolutely|confirm|proceed|yes please)(?:[\s,，]*(?:好的?|可以|吧|please|do it|go|yes|sure))?{_END}"
)
DECLINE = _any(
    rf"^\s*(?:不|不要|不用|不了|不行|算了|先不|先别|别|暂不|暂时不|等等|等一下|等会儿?|取消|放弃|no|nope|nah|n|cancel|not now|not yet|later|never mind|nevermind|don'?t|wait|no thanks|hold on)(?:[\s,，]*(?:用了?|要|谢谢|thanks|了|吧|yet))?{_END}"
)
MORE = _any(
    r"^\s*(?:再)?(?:详细|具体|展开|多)(?:地|一点|一些|点)?(?:说|讲|解释|介绍)?(?:说|讲|一下|明|点|说看|些)*[。!！?？吧]*\s*$|^\s*(?:继续(?:说|讲)|还有呢|然后呢)[?？。]*\s*$",
    r"^\s*(?:tell me more|more(?: details?| info\w*)?|go on|elaborate|in (?:more )?detail|can you elaborate|explain more|details)[.?!]*\s*$",
)
START = _any(
    r"启动|开跑|开训|跑起来|跑一下|跑跑看|开搞|开整|(?:跑|训|开|上)吧|(?:就)?(?:按|照)(?:这个|此|着|上面)?的?(?:计划|方案)?(?:来|跑|执行|办)吧?|就这么(?:跑|训|来|干)|^[\s好的行那就]*[，, ]*(?:请|可以)?(?:开始|训练|跑|上|动手)(?:训练|微调|跑|执行|运行)?吧?[。!！了]*\s*$|开始(?:训练|微调|跑|执行|运行|吧)|执行(?:计划|吧)|运行(?:计划|吧|它)|(?:就)?按(?:这个|照)?计划(?:跑|来|训练|执行)",
    r"^\s*(?:ok(?:ay)?|yes|yeah|sure|great|good)?[\s,]*(?:(?:please|then|now|so)\s+)?(?:go|start|run|launch|begin|train)(?:\s+(?:it|now|the (?:run|training|plan|job)|training|fine-?tuning|please|this|that))*\s*[.!]*$",
    r"\b(?:start|launch|kick off|begin|execute) (?:the |this |my |a )?(?:run|training|plan|job|fine-?tun\w*|it)\b|\bstart (?:now|please)\b|\bkick (?:it|this|that|things) off\b|\blet'?s (?:go|start|do it|run it)\b|\blet'?s train(?: it| now)?\s*[.!]*$|\brun (?:it|the plan|this plan)\b|\bfire away\b|^\s*(?:go[\s!,.]*){2,}$",
)
STOP = _any(
    r"(?:停(?:止|掉|下来?|一下|了)?|中止|终止|结束|停止|暂停|关掉|杀掉|取消)\s*(?:当前|这次|这个)?的?\s*(?:训练|运行|任务|微调|run|它|吧|[-\w]*-\d+)|(?:赶紧|马上|立即|立刻|快)停|^\s*(?:停|停下|停止|停掉|别跑了|不跑了|不训了|别训了|先停|停一停)(?:吧|了|一下)?[。!！]*\s*$",
    r"\b(?:stop|abort|terminate|kill|halt|cancel|end) (?:the |this |my |that )?(?:run|training|job|it|fine-?tuning|[-\w]+-\d+)\b|^\s*(?:please )?(?:stop|abort|halt)(?: now| please)?[.!]*\s*$",
)
RESUME = _any(
    r"(?:继续|恢复|接着|续)\s*(?:当前|上次|刚才|之前)?的?\s*(?:训练|跑|运行|微调|训|[-\w]*-\d+)|断点续训|从(?:检查点|断点|checkpoint)\s*(?:继续|恢复|接着)|^\s*(?:继续|接着来|恢复)(?:吧|一下)?[。!！]*\s*$",
    r"\b(?:resume|continue|restart|pick up) (?:the |this |my |that |from |it)?\s*(?:run|training|job|it|checkpoint|where|last|[-\w]+-\d+)|^\s*(?:please )?(?:resume|continue|carry on|keep (?:going|training))(?: please| it)?[.!]*\s*$",
)
FIX = _any(
    r"修(?:复|一下|一修|好|吧|它|下|理|正)|(?:就|那|来|按|你).{0,8}修[。!！了]*\s*$|^\s*修[。!！]*$|应用(?:修复|这个|它|吧|方案|该)|^\s*应用[。!！]*\s*$|(?:帮我|给我|麻烦|请)?(?:解决|处理|搞定|改好)(?:一下|它|掉|吧|这个问题)|采纳|(?:可以|能)修吗|用(?:这个|该)(?:方案|修复)|自动修",
    r"\b(?:fix|repair|mend|solve|resolve) (?:it|this|that|the (?:run|problem|issue|error|training)|the|my|[-\w]+-\d+)\b|^\s*(?:please )?(?:fix|repair|apply)(?: it| please| now)?[.!]*\s*$|\bapply (?:it|the|this|that)\b|\b(?:can|could) you (?:fix|repair)\b",
)
RESULT = _any(
    r"效果(?:怎么样|如何|好吗|好不好|变好|提升|有没有|呢|咋样|[?？])|(?:训练|微调|最终|最后)?(?:的)?结果(?:怎么样|如何|呢|好吗|出来|是什么)|(?:变|更)(?:好|强|聪明|准|准确)(?:了|些)?(?:吗|么|没|多少)|(?:训练|微调)(?:有|起)(?:没有|什么)?(?:用|作用|效果)|(?:有(?:没有)?|是否)(?:提升|进步|变好|效果)|前后(?:对比|比较|效果)|(?:训练|微调)前后|好了多少|提升了?多少|看(?:看|下|一下)?(?:效果|结果)",
    r"\bis it (?:any )?better\b|\bdid (?:it|that|the (?:run|training|model|fine-?tuning|tuning)) (?:really |actually )?(?:improve|work|help|get better|learn)|\bhow (?:good|well) (?:is|did|does)\b|\b(?:the |show (?:me )?(?:the )?)results?\b|\bany (?:better|improvement)\b|\bimproved\b|before (?:and|vs\.?|/) ?after|\bhow did it (?:go|do)\b|\bbetter than before\b",
)
WHY = _any(
    r"为什么|为啥|为何|凭什么|怎么(?:会)?(?:选|定)|怎么会?是(?!了)|(?:什么|啥)(?:理由|原因|道理)|依据(?:是)?什么|(?:的)?(?:理由|原因|依据)(?:是什么|呢|[?？])|理由\s*$|怎么来的|怎么算(?:出来)?的",
    r"\bwhy\b|\bhow come\b|\bwhat(?:'s| is) the (?:reason|rationale)\b|\breason for\b|\bwhere does .* come from\b|\bjustify\b",
)
STATUS = _any(
    r"跑到(?:哪|第几|多少)|进度|到(?:哪|第几)(?:一)?(?:步|里|儿|了)|(?:训练|跑|训|微调)(?:得|的)?(?:怎么样|如何|咋样|完了?(?:吗|没)|好了?(?:吗|没)|到哪)|还(?:要|有|需要?|剩)(?:多久|多长时间|多少时间)|多久(?:能|才|可以)?(?:跑|训练?)?(?:完|结束|好)|(?:当前|现在|目前)的?\s*(?:状态|loss|损失|情况|进展)|(?:loss|损失)\s*(?:现在|目前)?(?:是)?(?:多少|到哪|降到)|(?:状态|情况|进展)(?:怎么样|如何|呢|[?？])|^\s*(?:状态|进度)\s*[?？]?$|正常吗|(?:啥|什么)(?:情况|状态|进展)(?!下)|(?:loss|损失).{0,4}(?:下?降|收敛)(?:了|下来)?(?:吗|没|么|多少)|(?:跑|训|训练)完(?:没|了没|了吗|了么)",
    r"\bhow(?:'s| is| are) (?:it|the (?:run|training|job)|things|training|the fine-?tuning)(?: going| doing| running| coming along)?\b|\bstatus\b|\bprogress\b|\bhow far\b|\beta\b|\bis it (?:done|running|finished|still running|over|ok|healthy)\b|\b(?:current|latest) loss\b|\bwhat(?:'s| is) the (?:current )?loss (?:now|at)\b|\bhow much longer\b|\bhow (?:long|much time) (?:is |until |till |to go|left|more|remaining)|\btime (?:left|remaining)\b|\bhow many steps\b",
)
LIST_RUNS = _any(
    r"(?:有|列出|列一下|看看|查看|显示|所有|全部)(?:的|了|过|多少|哪些|几)?(?:所有|全部|历史)?(?:的)?(?:运行|训练记录|训练任务|runs|实验)(?!.*(?:怎么|为什么))|(?:运行|训练|实验)(?:记录|列表|历史)|跑过(?:哪些|什么|几)",
    r"\b(?:list|show|see|all)(?: me)?(?: all)?(?: of)?(?: the| my)? runs\b|\bwhat runs\b|\brun history\b|\bprevious runs\b|\bwhich runs\b",
)
COMPARE = _any(
    r"比较|对比|哪个(?:更)?好|谁(?:更)?好|相比|区别|差别",
    r"\bcompare|\bvs\.?\b|\bversus\b|\bbetter\b|\bdiff",
)
SEE_MACHINE = _any(
    r"(?:看|查|检查|检测|分析|识别|认识)(?:看|查|一下|下)?(?:我的|我这|这台|本机|本地|当前)?(?:的)?(?:电脑|机器|显卡|硬件|gpu|显存|配置|服务器|主机|环境)|(?:我的|我这|这台|本机|当前)(?:的)?(?:电脑|机器|显卡|硬件|gpu|配置|服务器).{0,6}(?:什么|怎么样|如何|咋样|多少|够|行|是)|(?:gpu|显卡)是(?:啥|什么)|有(?:什么|几张|几块|哪些|没有)\s*(?:显卡|gpu|卡|nvidia)|(?<!要)什么(?:配置|显卡)(?!.*(?:需要|要求|推荐))",
    r"\b(?:what|which) (?:gpu|gpus|hardware|machine|graphics card)s? (?:do i have|is (?:this|here|available)|are (?:here|available)|have i)\b|\b(?:check|inspect|look at|show|see|probe|detect) (?:me )?(?:my |the |this )?(?:gpu|gpus|hardware|machine|computer|system|server|box)\b|\bmy (?:hardware|specs)\b|\bdo i have a gpu\b",
)
OWN_MACHINE = _any(
    r"我(?:的)?(?:显卡|gpu|机器|电脑)?(?:有|是)?(?:多少|多大|几[张块])(?:g|gb)?\s*(?:显存|显卡|内存|卡|gpu)|^\s*有几[张块](?:显?卡|gpu)",
    r"\b(?:do i have|have i got|are there|is there)\b.*|\bmy (?:gpu|vram|memory)\b",
)
SEE_MODEL = _any(
    r"(?:看|查|检查|介绍|分析|了解)(?:看|一下|下)?|(?:模型)?(?:结构|架构)|多少(?:层|参数|个参数|头)|(?:参数量|层数|头数|隐藏维度|许可证|协议)|(?:是)?(?:多大|什么样)的?|有多大",
    r"\b(?:inspect|look at|describe|show|tell me about|what is|details? of|info(?:rmation)? (?:on|about))\b|\barchitecture\b|\bhow (?:many (?:layers|parameters|heads|params)|big|large)\b|\blicen[cs]e\b|\bspecs?\b",
)
SEE_DATA = _any(
    r"看|检查|分析|读|了解|质量|有(?:没有)?(?:什么)?问题|怎么样|如何|多少(?:行|条)|格式|打开|统计|啥样|什么样",
    r"\b(?:inspect|look at|check|analy[sz]e|describe|read|show|audit|open|any problems|is .* (?:ok|good|fine)|how many rows|looks? like|what is in|what's in|format)\b",
)
LIST_FILES = _any(
    r"(?:有|列出|列一下|看看|找找?)(?:哪些|什么|些什么|所有)?(?:数据)?(?:文件|数据集)(?!.*(?:微调|训练))|(?:哪些|什么)(?:数据)?文件|有(?:哪些|什么|啥)数据(?!问题|集?(?:格式|要求))",
    r"\b(?:list|show|find|see)(?: me)?(?: all)?(?: the| my)?(?: data)? files\b|\bwhat (?:data )?files\b|\bwhich (?:data )?files\b|\bwhat data (?:do i have|is here)\b",
)
ESTIMATE = _any(
    r"(?:多少|多大|几[个张块]?)(?:的)?\s*(?:g|gb|gib)?(?:的)?(?:显存|内存|vram|memory|卡|显卡|gpu)|(?:显存|内存|vram|卡|显卡|gpu)(?:需要|要|占用?|够|得)?(?:多少|多大|几|不够|够)|(?:放|跑|装|训|撑|吃|带|微调|训练)(?:得|不)(?:下|动|了|起)|(?:能不能|能否|可以|可不可以|能)(?:跑|训|训练|微调|放下|装下|全参|lora|用).*(?:吗|么|\?|？|$)|(?:显存|内存|卡|gpu|机器|硬盘).{0,6}够(?:用|不够|吗|么)|够(?:用|不够)吗?[?？]?$|够.{0,4}(?:微调|训练|跑|训|放|装).*(?:吗|么|[?？])|(?:多少|几)\s*[张块台]|(?:要|需要|得|大概|会|花)(?:跑|训练|训|花)?(?:多久|多长时间|多少时间|几个?小时)|多久能|要(?:什么|怎样的|啥)(?:配置|显卡|机器|硬件)",
    r"\bhow much (?:memory|vram|gpu|ram|time)\b|\b(?:does|will|would|do|can) .*\bfit\b|\bfit (?:in|on|into)\b|\bcan i (?:train|tune|fine-?tune|run|use|do)\b.*|\bhow (?:long|many gpus|many hours)\b|\benough (?:memory|vram|gpu)\b|\bmemory (?:needed|required|requirements?|for|usage)\b|\bvram (?:needed|required|for)\b|\bis .* (?:enough|sufficient)\b|\bestimate\b|\bhow (?:big|large) an? (?:gpu|card|machine)\b|\bhow many .{0,20}do i need\b|\b(?:memory|vram)\b\s*[?.]*$",
)
WRONG = _any(
    r"出了?(?:什么|啥)(?:问题|事|毛病|错)|怎么(?:了|回事)|(?:哪里|哪儿|什么地方)(?:不对|错了|出错|有问题|出了?问题)|为(?:什么|啥|何).{0,8}(?:失败|停|暂停|崩|挂|中断|断)",
    r"\bwhy (?:did|was|has|is) .{0,24}\b(?:halt\w*|fail\w*|stop\w*|crash\w*|end\w*|paus\w*)|\bwhat(?:'s| is| was| went) wrong\b|\bwhat(?:'s| has)? happened (?:to|with)\b",
)
"""What is the matter with a run."""
TROUBLE = _any(
    r"报错|出错|错误|异常|崩(?:溃|了)|挂(?:了|掉)|卡(?:住|死)|死机|不(?:收敛|下降|降|学|动|变|工作)|没(?:有)?(?:收敛|下降|效果|变化|反应)|爆(?:显存|内存|了|炸)|显存(?:溢出|爆|不足|不够)|内存溢出|发散|飙升|突然(?:变|升|涨|高)|乱码|复读|重复(?:输出|回答|生成|同)|变(?:傻|笨|差|慢)|遗忘|过拟合|欠拟合|(?:loss|损失).{0,6}(?:不动|异常|波动|震荡|上升|升高|飞|炸|很[高大低小]|为?\s*0|是\s*0|一直)|太慢|很慢|效果(?:很|太|不)(?:差|好)|停不下来|上不去|一直(?:是|为)?(?:空|不变|不动)|不停(?:地)?(?:说|生成|输出)|空(?:回答|输出)|胡说|答非所问|怎么办",
    r"\bnan\b|\binf\b|\boom\b|\bloss\b.{0,24}\b(?:stays? at|stuck at|remains?|goes? up|going up|went up|jump\w*|ris(?:es|ing)|rose|increas\w*|climb\w*|shoots?|shot up|flat|plateau\w*|oscillat\w*|zero)\b",
    r"\b(?:crash\w*|error|exception|traceback|diverg\w*|explod\w*|explosion|spik\w*|stuck|hang(?:s|ing)?|hung|froze|too slow|very slow|so slow|overfit\w*|underfit\w*|gibberish|garbage|repeat(?:s|ing)? (?:itself|the)|forgets|forgot|worse|went wrong|going wrong|what's wrong|is wrong|fails?|failed|failing|broken|out of memory)\b|\b(?:not|isn't|doesn't|won't|never|stopped) (?:\w+ )?(?:converg\w*|learn\w*|decreas\w*|drop\w*|improv\w*|work\w*|go\w* down|stop\w*|mov\w*|chang\w*)",
)
TUNE = _any(
    r"微调|精调|调教|训练(?:一个|个|出|自己|我的|专属|模型|大模型|小模型|deepseek|qwen)|(?:定制|做|搞|弄|打造|训)(?:一个|个|出)?.{0,12}(?:模型|机器人|助手|bot)|(?:让|教)会?\s*(?:一个|这个)?\s*(?:大?模型|它|deepseek|qwen|llama|ai)\s*.{0,8}(?:学|会|用|说|回答|写|做|像)|sft|用(?:我|我们|自己)的?.{0,6}数据.{0,6}(?:训|练|调)",
    r"\b(?:fine-?\s?tun\w*|finetun\w*|tune|train|teach|adapt|specialis\w*|specializ\w*|customi[sz]e|sft)\b|\b(?:need|want|build|make|create|get) (?:a|an|my own|our own|some) .{0,30}?(?:model|bot|chatbot|assistant|classifier|llm)\b",
)
CHECK = _any(
    r"(?:检查|自检|验证)(?:一下)?(?:安装|环境)|安装(?:好了|成功|正常|没问题)吗|环境(?:正常|没问题|好了)吗",
    r"\b(?:check|verify|test) (?:the |my |this )?(?:installation|install|setup|environment)\b|\bis (?:everything|it) installed\b",
)
MIGRATE = _any(
    r"\bmigrat\w*|\bport(?:ing)?\b|\bmoderni[sz]\w*|\b(?:old|legacy|outdated|ancient) (?:\w+ )?(?:script|code|notebook)|\b(?:update|upgrade|convert|"
    r"translate|rewrite|turn)\b.{0,40}(?:script|code|notebook|\.py|\.ipynb|plan)|\b(?:works?|runs?|working|running) (?:again|today|now|nowadays|any ?more)\b|"
    r"\bwhat(?:'s| is)? (?:wrong|broken|breaks)\b",
    r"迁移|移植|[旧老](?:的)?(?:训练)?(?:脚本|代码|notebook|笔记本)|(?:改|转|变|换|升级|翻译)(?:写)?(?:成|为|到).{0,12}(?:能[跑用]|可用|计划|新版|最新|现在)|"
    r"(?:跑|运行)不(?:了|起来|动|通)|不能(?:跑|用|运行)|过时|升级.{0,8}(?:脚本|代码)|哪里(?:会)?(?:出错|有问题|不对)",
)
"""What is wanted of a script that is named."""
MIGRATION = _any(
    r"\b(?:migrate|port|moderni[sz]e)\b.{0,40}\b(?:script|code|notebook)\b|"
    r"\b(?:old|training|legacy) (?:\w+ )?(?:script|code|notebook)\b.{0,40}\b(?:migrate|port|moderni[sz]e)\b",
    r"(?:迁移|移植).{0,12}(?:脚本|代码|notebook)|(?:脚本|代码|notebook).{0,12}(?:迁移|移植)|把.{0,10}[旧老].{0,6}(?:脚本|代码).{0,12}(?:改|转|变|升级)",
)
"""A script is to be migrated, though none is named yet."""
