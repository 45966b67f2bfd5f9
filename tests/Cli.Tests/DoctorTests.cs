// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using Tidemark.Lab;

namespace Tidemark.Cli.Tests;

/// <summary>What doctor says of real machines, and that what it says mends it.</summary>
public sealed class DoctorTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    private static CancellationToken Token => CommandLine.Token;

    [Fact]
    public async Task HealthySetUp_EndsWithZero_AlsoWhenStrict()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "healthy", new LabDisk("vda", 4 * Mebi));
        await machine.WriteAsync("vda", 0, Mebi, 1, Token);
        (await command.RunAsync("backup", "healthy")).AssertDone();
        var files = Directory.GetFiles(command.Repository, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal).ToList();
        var found = new Findings((await command.RunAsync("doctor", "healthy", "--strict", "--json")).AssertDone());
        found.AssertOne("ok", "repository", "can write to it");
        found.AssertOne("ok", "repository", "clock and the store's agree");
        var writer = Path.GetFileName(Assert.Single(Directory.GetDirectories(Path.Combine(command.Repository, "packs"))));
        found.AssertOne("ok", "repository", $"packs/{writer}/*");
        found.AssertOne("ok", "disk 'vda' of 'healthy'", "bitmaps: 1 of this repository, 0 of other repositories, 0 of others");
        found.AssertOne("ok", "disk 'vda' of 'healthy'", "reads changes since the backup of");
        found.AssertOne("ok", "host", "A guardian starts");
        found.AssertOne("ok", "machine 'healthy'", "newest restore point is");
        Assert.Equal(files, Directory.GetFiles(command.Repository, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal));
        Assert.Single(await machine.Domain.ListCheckpointsAsync(Token));

        // Off, its images are asked instead.
        await machine.StopAsync(Token);
        new Findings((await command.RunAsync("doctor", "healthy", "--strict", "--json")).AssertDone())
            .AssertOne("ok", "disk 'vda' of 'healthy'", "bitmaps: 1 of this repository");
    }

    [Fact]
    public async Task NextBackup_IsPlannedAsTheSettingsSay()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "planned", new LabDisk("vda", 4 * Mebi), new LabDisk("vdb", Mebi));
        (await command.RunAsync("backup", "planned")).AssertDone();
        var file = Path.Combine(command.Root, "config.yaml");
        await SayAsync("{ chunkSize: 64K, exclude: [vdb] }");
        var found = new Findings(await command.RunAsync("doctor", "planned", "--config", file, "--strict", "--json"), exitCode: 3);
        found.AssertOne("warning", "disk 'vda' of 'planned'", "reads it in full");
        Assert.DoesNotContain("disk 'vdb' of 'planned'", found.Subjects("The next backup"));
        await SayAsync("{ domain: shop }");
        found = new Findings(await command.RunAsync("doctor", "planned", "--config", file, "--strict", "--json"), exitCode: 3);
        found.AssertOne("warning", "disk 'vdb' of 'planned'", "'shop'");
        await SayAsync("{ chunkSize: 3K }");
        new Findings(await command.RunAsync("doctor", "planned", "--config", file, "--json"), exitCode: 1)
            .AssertOne("problem", "machine 'planned'", "Chunk size '3K'");
        await machine.StopAsync(Token);

        Task SayAsync(string settings) => File.WriteAllTextAsync(file, $"machines:\n  planned: {settings}\n", Token);
    }

    [Fact]
    public async Task WithoutRepository_ThatPartIsLeftOut_AndSaid()
    {
        using var command = new CommandLine(fixture.Host);
        command.Environment["TIDEMARK_REPO"] = "";
        var machine = await LabMachine.DefineAsync(fixture.Host, "norepo", new LabDisk("vda", Mebi));
        var found = new Findings((await command.RunAsync("doctor", "norepo", "--json")).AssertDone());
        found.AssertOne("note", "repository", "None is named");
        found.AssertOne("ok", "disk 'vda' of 'norepo'", "can be tracked");

        // Without a name, every machine; those of other tests may be in any state.
        var all = await command.RunAsync("doctor", "--json");
        new Findings(all, all.ExitCode).AssertOne("ok", "disk 'vda' of 'norepo'", "can be tracked");
        Assert.InRange(all.ExitCode, 0, 1);
        (await command.RunAsync("doctor", "nobody-has-this-name")).AssertRefused(2, "knows no machine");
        await machine.StopAsync(Token);
    }

    [Fact]
    public async Task OldQcow2_IsMendedByTheCommandThatIsGiven()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(
            fixture.Host, "oldimage", new LabDisk("vda", 4 * Mebi) { CreateOptions = "compat=0.10" },
            new LabDisk("vdb", Mebi) { Format = "raw" });
        await machine.WriteAsync("vda", 0, Mebi, 7, Token);
        var found = new Findings(await command.RunAsync("doctor", "oldimage", "--strict", "--json"), exitCode: 3);
        var mend = found.AssertOne("warning", "disk 'vda' of 'oldimage'", "version 2").GetProperty("mend").GetString()!;
        found.AssertOne("note", "disk 'vdb' of 'oldimage'", "raw images cannot carry a bitmap");
        await machine.StopAsync(Token);
        await Tool.RunAsync("sh", ["-c", mend[(mend.IndexOf(": ", StringComparison.Ordinal) + 2)..]], Token);
        await machine.StartAsync(Token);
        (await command.RunAsync("backup", "oldimage")).AssertDone();
        new Findings((await command.RunAsync("doctor", "oldimage", "--strict", "--json")).AssertDone())
            .AssertOne("ok", "disk 'vda' of 'oldimage'", "can be tracked");
        await machine.StopAsync(Token);
    }

    [Fact]
    public async Task KilledQemu_LeavesAnInconsistentBitmap_WhichTheNextBackupMends()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "killed", new LabDisk("vda", 4 * Mebi));
        (await command.RunAsync("backup", "killed")).AssertDone();
        await machine.StopAsync(Token);
        await machine.StartAsync(Token);
        await machine.KillAsync(Token);
        new Findings(await command.RunAsync("doctor", "killed", "--json")).AssertOne("warning", "disk 'vda' of 'killed'", "tracks it anew");
        await machine.StartAsync(Token);
        var found = new Findings(await command.RunAsync("doctor", "killed", "--strict", "--json"), exitCode: 3);
        found.AssertOne("warning", "disk 'vda' of 'killed'", "tracks it anew");
        found.AssertOne("warning", "disk 'vda' of 'killed'", "reads it in full");
        (await command.RunAsync("backup", "killed")).AssertDone();
        _ = new Findings((await command.RunAsync("doctor", "killed", "--strict", "--json")).AssertDone());
        await machine.StopAsync(Token);
    }

    [Fact]
    public async Task LeavingsOfDeadRuns_AreFound()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "littered", new LabDisk("vda", Mebi));
        (await command.RunAsync("backup", "littered")).AssertDone();
        var (run, stale) = (Guid.NewGuid().ToString("n"), Guid.NewGuid().ToString("n"));
        var scratch = command.Environment["TIDEMARK_SCRATCH"];
        var entry = new Dictionary<string, object?>(StringComparer.Ordinal)
        {
            ["run"] = Guid.ParseExact(run, "n"),
            ["process"] = 1,
            ["machineUuid"] = machine.Domain.Uuid.ToString("d"),
            ["machineName"] = "littered",
            ["connect"] = fixture.Host.Uri,
            ["repository"] = command.Repository,
            ["repositoryPart"] = "00000000",
            ["checkpoint"] = null,
            ["folder"] = Path.Combine(scratch, run),
            ["disks"] = (string[])["vda"],
            ["afterThaw"] = (string[])[],
        };
        await File.WriteAllTextAsync(
            Path.Combine(command.Environment["TIDEMARK_STATE"], "runs", $"{run}.json"), JsonSerializer.Serialize(entry), Token);
        Directory.CreateDirectory(Path.Combine(scratch, run));
        Directory.CreateDirectory(Path.Combine(scratch, stale));
        var found = new Findings(await command.RunAsync("doctor", "littered", "--strict", "--json"), exitCode: 3);
        found.AssertOne("warning", "machine 'littered'", $"Run {run} died");
        var mend = found.AssertOne("warning", "host", stale).GetProperty("mend").GetString()!;
        (await command.RunAsync("backup", "littered")).AssertDone();
        await Tool.RunAsync("sh", ["-c", mend], Token);
        (await command.RunAsync("doctor", "littered", "--strict")).AssertDone();
        await machine.StopAsync(Token);
    }

    [Fact]
    public async Task ScratchThatQemuCannotReach_IsAProblem_UntilTheFolderIsOpened()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "Only root's scratch folder can be out of QEMU's reach.");
        using var command = new CommandLine(fixture.Host);
        command.Environment["TIDEMARK_REPO"] = "";
        var machine = await LabMachine.DefineAsync(fixture.Host, "walled", new LabDisk("vda", Mebi));
        var closed = Path.Combine(command.Root, "closed");
        Directory.CreateDirectory(closed, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        command.Environment["TIDEMARK_SCRATCH"] = Path.Combine(closed, "scratch");
        var found = new Findings(await command.RunAsync("doctor", "walled", "--json"), exitCode: 1);
        var mend = found.AssertOne("problem", "host", $"may not pass '{closed}'").GetProperty("mend").GetString()!;
        await Tool.RunAsync("sh", ["-c", mend], Token);
        (await command.RunAsync("doctor", "walled")).AssertDone();
        command.Environment["TIDEMARK_SCRATCH"] = Path.Combine(closed, new string('x', 80));
        new Findings(await command.RunAsync("doctor", "walled", "--json"), exitCode: 1).AssertOne("problem", "host", "too long a path");
        await machine.StopAsync(Token);
    }

    [Fact]
    public async Task AgentThatIsNotThere_IsSaid()
    {
        using var command = new CommandLine(fixture.Host);
        command.Environment["TIDEMARK_REPO"] = "";
        var without = await LabMachine.DefineAsync(fixture.Host, "agentless", new LabDisk("vda", Mebi));
        new Findings(await command.RunAsync("doctor", "agentless", "--json")).AssertOne("note", "machine 'agentless'", "no channel");
        await without.StopAsync(Token);
        var with = await LabMachine.DefineAsync(
            fixture.Host, "agentgone", new LabMachineOptions { AgentChannel = true }, [new LabDisk("vda", Mebi)], Token);
        await with.Domain.ResumeAsync(Token);
        new Findings(await command.RunAsync("doctor", "agentgone", "--json"))
            .AssertOne("warning", "machine 'agentgone'", "is not connected");
        await with.StopAsync(Token);
    }

    [Fact]
    public async Task RepositoryThatIsMissing_OrHasAnotherKey_IsAProblem()
    {
        using var command = new CommandLine(fixture.Host);
        var machine = await LabMachine.DefineAsync(fixture.Host, "lockedout", new LabDisk("vda", Mebi));
        var missing = new Findings(await command.RunAsync("doctor", "lockedout", "--json"), exitCode: 1);
        Assert.Contains(
            "init", missing.AssertOne("problem", "repository", "no repository").GetProperty("mend").GetString(), StringComparison.Ordinal);
        (await command.RunAsync("init")).AssertDone();
        new Findings((await command.RunAsync("doctor", "lockedout", "--json")).AssertDone())
            .AssertOne("ok", "repository", "can write to it");
        using var other = new CommandLine(fixture.Host);
        (await other.RunAsync("init")).AssertDone();
        command.Environment["TIDEMARK_KEY_FILE"] = other.Environment["TIDEMARK_KEY_FILE"];
        new Findings(await command.RunAsync("doctor", "lockedout", "--json"), exitCode: 1)
            .AssertOne("problem", "repository", "opens none of the 1 key slots");
        await machine.StopAsync(Token);
    }

    [Fact]
    public async Task ReadOnlyRepository_IsAProblem()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "readonly", new LabDisk("vda", Mebi));
        await using (var mounted = await ReadOnlyFolder.TryMountAsync(command.Repository))
        {
            Assert.SkipWhen(mounted is null, "Nothing can be mounted read-only here.");
            new Findings(await command.RunAsync("doctor", "readonly", "--json"), exitCode: 1)
                .AssertOne("problem", "repository", "This host cannot write to it");
        }

        (await command.RunAsync("backup", "readonly")).AssertDone();
        await using (var mounted = await ReadOnlyFolder.TryMountAsync(command.Repository))
        {
            new Findings(await command.RunAsync("doctor", "readonly", "--json"), exitCode: 1)
                .AssertOne("problem", "repository", "This host cannot write to it");
        }

        await machine.StopAsync(Token);
    }

    [Fact]
    public async Task ClocksThatDiffer_AreSaid()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "clocked", new LabDisk("vda", Mebi));
        (await command.RunAsync("backup", "clocked")).AssertDone();
        var point = Assert.Single(Directory.GetFiles(Path.Combine(command.Repository, "points"), "*", SearchOption.AllDirectories));
        File.SetLastWriteTimeUtc(point, TimeProvider.System.GetUtcNow().UtcDateTime.AddDays(3));
        new Findings(await command.RunAsync("doctor", "clocked", "--strict", "--json"), exitCode: 3)
            .AssertOne("warning", "repository", "3 days from now");
        File.SetLastWriteTimeUtc(point, TimeProvider.System.GetUtcNow().UtcDateTime.AddHours(-5));
        new Findings(await command.RunAsync("doctor", "clocked", "--strict", "--json"), exitCode: 3)
            .AssertOne("warning", "repository", "5 hours younger than when the store got it");
        await machine.StopAsync(Token);
    }

    [Fact]
    public async Task NoHypervisor_IsAProblem_AndTheRestIsLookedAt()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        command.Environment["TIDEMARK_CONNECT"] = $"qemu+unix:///session?socket={command.Root}/nobody";
        var found = new Findings(await command.RunAsync("doctor", "--json"), exitCode: 1);
        Assert.Contains("libvirtd", Assert.Single(found.Of("problem")).GetProperty("mend").GetString(), StringComparison.Ordinal);
        found.AssertOne("ok", "repository", "It opens");
    }

    [Fact]
    public async Task OrdinaryUser_IsToldWhatWasNotLookedAt()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "Only root can be another user.");
        using var command = new CommandLine(fixture.Host);
        command.Environment["TIDEMARK_REPO"] = "";
        var machine = await LabMachine.DefineAsync(fixture.Host, "ordinary", new LabDisk("vda", Mebi));
        var user = fixture.Host.QemuUserId + 1;
        command.As = ["setpriv", "--reuid", $"{user}", "--regid", $"{user}", "--clear-groups", "--"];
        command.Environment["HOME"] = command.Root;
        var outcome = await command.RunAsync("doctor", "--json");
        Assert.SkipWhen(outcome.Output.Length == 0, $"Another user cannot run the command here: {outcome.Errors}");
        var found = new Findings(outcome, exitCode: 1);
        found.AssertOne("problem", "host", "cannot be made by this user");
        Assert.NotEmpty(found.Of("problem"));
        await machine.StopAsync(Token);
    }

    /// <summary>The findings of a run of doctor.</summary>
    private sealed class Findings
    {
        private readonly List<JsonElement> _all;
        private readonly string _text;

        public Findings(Outcome outcome, int exitCode = 0)
        {
            Assert.True(
                exitCode == outcome.ExitCode, $"Exit code {outcome.ExitCode}, expected {exitCode}: {outcome.Output}{outcome.Errors}");
            _text = outcome.Output;
            _all = [.. outcome.Json.GetProperty("findings").EnumerateArray()];
            Assert.All(_all, finding => Assert.EndsWith(".", finding.GetProperty("what").GetString(), StringComparison.Ordinal));
            Assert.Equal(Of("problem").Count, outcome.Json.GetProperty("problems").GetInt32());
            Assert.Equal(Of("warning").Count, outcome.Json.GetProperty("warnings").GetInt32());
        }

        public List<JsonElement> Of(string severity) => _all.FindAll(finding => finding.GetProperty("severity").GetString() == severity);

        public IEnumerable<string> Subjects(string text) =>
            _all.FindAll(finding => finding.GetProperty("what").GetString()!.Contains(text, StringComparison.Ordinal))
                .Select(finding => finding.GetProperty("subject").GetString()!);

        public JsonElement AssertOne(string severity, string subject, string text)
        {
            var found = _all.FindAll(finding => finding.GetProperty("severity").GetString() == severity
                && finding.GetProperty("subject").GetString() == subject
                && finding.GetProperty("what").GetString()!.Contains(text, StringComparison.Ordinal));
            Assert.True(found.Count == 1, $"{found.Count} findings '{severity}' on '{subject}' with '{text}':\n{_text}");
            return found[0];
        }
    }
}
